/*
 * holds.c
 *		What a transaction holds of the cache: src/xact.c of the extension.
 */
#include <string.h>

#include "cache.h"
#include "holds.h"
#include "laws.h"
#include "sets.h"
#include "steps.h"
#include "world.h"

Hold *
find_hold(Txn *t, Entry *entry, int level, int64 lease_id)
{
	for (int i = 0; i < t->nholds; i++)
		if (t->holds[i].entry == entry && t->holds[i].level == level &&
			t->holds[i].lease_id == lease_id)
			return &t->holds[i];
	return NULL;
}

Hold *
get_hold(Txn *t, Entry *entry, int64 lease_id)
{
	Hold	   *hold = find_hold(t, entry, t->level, lease_id);

	if (hold != NULL)
		return hold;
	t->wrote = true;
	hold = &t->holds[t->nholds++];
	memset(hold, 0, sizeof(Hold));
	hold->entry = entry;
	hold->level = t->level;
	hold->xid = t->xid[t->level];
	hold->lease_id = lease_id;
	return hold;
}

void
publish(Hold *hold)
{
	hold->shown = hold->hold > 0 || hold->credit > 0;
}

void
drop_hold(Txn *t, Hold *hold)
{
	*hold = t->holds[--t->nholds];
}

bool
xact_has_room(const Txn *t)
{
	return t->nholds <= MAX_HOLDS - 3;
}

static int32
own_credit(const Txn *t, const Entry *entry, int64 lease_id)
{
	int32		credit = 0;

	for (int i = 0; i < t->nholds; i++)
		if (t->holds[i].entry == entry && t->holds[i].lease_id == lease_id)
			credit += t->holds[i].credit;
	return credit;
}

OwnUnits
xact_own(const Txn *t, const Entry *entry)
{
	OwnUnits	own = {.lease_id = entry->c.lease_id};

	own.credit = own_credit(t, entry, own.lease_id);
	own.held = own.credit;
	for (int i = 0; i < t->nholds; i++)
		if (t->holds[i].entry == entry &&
			t->holds[i].lease_id == own.lease_id)
			own.held += t->holds[i].hold;
	return own;
}

/* The level of the transaction as the extension counts it: 1 at the top. */
static int32
nest_level(const Txn *t)
{
	return t->level + 1;
}

static bool
is_of(const Held *held, const Entry *entry, int64 lease_id)
{
	return held->entry == entry && held->lease_id == lease_id;
}

static void
add_number(Txn *t, Entry *entry, int64 lease_id, const NumberHold *hold)
{
	if (t->nheld == HOLDS)
		broken("the model has too few places for numbers", entry->item);
	t->held[t->nheld].entry = entry;
	t->held[t->nheld].lease_id = lease_id;
	t->held[t->nheld++].hold = *hold;
}

/* Numbers of the row that the level has leased. */
void
credit_numbers(Txn *t, Entry *entry, int64 lease_id, NumberSet numbers)
{
	NumberHold	hold = {.credit = true};

	hold.level = hold.leased_level = nest_level(t);
	for (; numbers != 0; numbers &= numbers - 1)
	{
		hold.number = set_lowest(numbers);
		add_number(t, entry, lease_id, &hold);
	}
}

static void
take_numbers(Txn *t, Entry *entry, int32 units, Taken *taken)
{
	NumberHold	hold = {.level = nest_level(t)};
	int32		numbers[NUMBERS_RING];

	if (!entry->numbered)
		return;
	ring_take(&entry->ring, numbers, units);
	for (int32 i = 0; i < units; i++)
	{
		hold.number = numbers[i];
		add_number(t, entry, taken->lease_id, &hold);
		taken->numbers |= set_of(numbers[i]);
	}
}

/* Sell numbers of our own credit, in the order in which they were leased. */
static void
draw_numbers(Txn *t, const Entry *entry, int32 units, Taken *taken)
{
	for (int i = 0; i < t->nheld && units > 0; i++)
	{
		NumberHold *hold = &t->held[i].hold;

		if (!is_of(&t->held[i], entry, taken->lease_id) || !hold->credit)
			continue;
		hold->credit = false;
		hold->level = nest_level(t);
		taken->numbers |= set_of(hold->number);
		units--;
	}
}

/* Put from min to max units of the cache on hold; returns how many. */
int32
take_between(Txn *t, Entry *entry, int32 min, int32 max, Taken *taken)
{
	int32		units;

	taken->lease_id = entry->c.lease_id;
	taken->numbers = 0;
	units = counters_take(&entry->c, min, max);
	if (units > 0)
	{
		get_hold(t, entry, taken->lease_id)->hold += units;
		take_numbers(t, entry, units, taken);
		step_on(t, "take");
		/* a level cannot end meanwhile: the hold is still there */
		publish(find_hold(t, entry, t->level, taken->lease_id));
		step(t, "publish");
	}
	return units;
}

/* Put quantity units on hold, from our own credit first. */
bool
xact_take(Txn *t, Entry *entry, int32 quantity, Taken *taken)
{
	int32		drawn = own_credit(t, entry, entry->c.lease_id);
	Hold	   *hold;

	if (drawn == 0)
		return take_between(t, entry, quantity, quantity, taken) > 0;
	drawn = drawn < quantity ? drawn : quantity;
	taken->lease_id = entry->c.lease_id;
	taken->numbers = 0;
	if (drawn < quantity &&
		counters_take(&entry->c, quantity - drawn, quantity - drawn) == 0)
		return false;
	hold = get_hold(t, entry, taken->lease_id);
	hold->hold += quantity - drawn;
	hold->credit -= drawn;
	stock_adjust(entry, taken->lease_id, 0, -drawn);
	draw_numbers(t, entry, drawn, taken);
	take_numbers(t, entry, quantity - drawn, taken);
	publish(hold);
	step(t, "take with credit");
	return true;
}

/* Put our own credit on hold, all of it; returns how many. */
int32
xact_take_credit(Txn *t, Entry *entry, Taken *taken)
{
	int32		credit = own_credit(t, entry, entry->c.lease_id);

	taken->numbers = 0;
	return credit > 0 && xact_take(t, entry, credit, taken) ? credit : 0;
}

/* Forget numbers that a call has taken; false: some are not of the ring. */
static bool
forget_numbers(Txn *t, const Entry *entry, const Taken *taken)
{
	int			kept = 0;
	bool		of_ring = true;

	for (int i = 0; i < t->nheld; i++)
	{
		Held		held = t->held[i];

		if (is_of(&held, entry, taken->lease_id) &&
			(set_of(held.hold.number) & taken->numbers) != 0)
			of_ring &= held.hold.leased_level == 0;
		else
			t->held[kept++] = held;
	}
	t->nheld = kept;
	return of_ring;
}

/* Give back what xact_take() took; what came from credit stays a hold. */
void
xact_return(Txn *t, Entry *entry, const Taken *taken, int32 units)
{
	Hold	   *hold = find_hold(t, entry, t->level, taken->lease_id);
	int32		numbers[NUMBERS];

	if (hold == NULL || hold->hold < units)
		raise_error(t);
	if (!forget_numbers(t, entry, taken))
		broken("units of the credit are given back", entry->item);
	hold->hold -= units;
	stock_return_numbers(entry, taken->lease_id, numbers,
						 set_list(taken->numbers, numbers));
	stock_adjust(entry, taken->lease_id, units, -units);
	publish(hold);
	if (hold->hold == 0 && hold->credit == 0 && !hold->refiller)
		drop_hold(t, hold);
}

static NumberFate
fate(NumberHold *hold, int32 level)
{
	bool		drawn = hold->leased_level > 0 && hold->level >= level &&
		!hold->credit;

	if (drawn && mutation == (level == 1 ? ABORT_RETURNS_CREDIT :
							  SAVEPOINT_RETURNS_CREDIT))
		return NUMBER_RETURNS;
	if (drawn && level > 1 && mutation == SAVEPOINT_DROPS_CREDIT)
		return NUMBER_VANISHES;
	return number_abort(hold, level);
}

/*
 * A level aborts: what becomes of the numbers of a lease, or, without entry,
 * of all that are left.  Returns how many are listed for the ring.
 */
static int32
abort_numbers(Txn *t, const Entry *entry, int64 lease_id, int32 level,
			  int32 *numbers)
{
	int			kept = 0;
	int32		n = 0;

	for (int i = 0; i < t->nheld; i++)
	{
		Held		held = t->held[i];
		NumberFate	what = NUMBER_STAYS;

		if (entry == NULL || is_of(&held, entry, lease_id))
			what = fate(&held.hold, level);
		if (what == NUMBER_STAYS)
			t->held[kept++] = held;
		else if (what == NUMBER_RETURNS)
			numbers[n++] = held.hold.number;
	}
	t->nheld = kept;
	return n;
}

void
undo_hold(Txn *t, Hold *hold)
{
	int32		numbers[HOLDS];
	int32		n = abort_numbers(t, hold->entry, hold->lease_id,
								  hold->level + 1, numbers);

	if (n > hold->hold && mutation == SOUND)
		broken("more numbers than units come back", hold->entry->item);
	stock_return_numbers(hold->entry, hold->lease_id, numbers, n);
	stock_adjust(hold->entry, hold->lease_id,
				 n > hold->hold ? n : hold->hold,
				 -(hold->hold + hold->credit));
	if (hold->refiller)
		hold->entry->refilling = false;
	drop_hold(t, hold);
	step_on(t, "abort: give back");
}

/* The holds of the level are undone; the ring has got what it gets. */
void
undo_numbers(Txn *t)
{
	int32		numbers[HOLDS];

	(void) abort_numbers(t, NULL, 0, nest_level(t), numbers);
}

/* The level is released: its numbers are those of the level around it. */
void
lift_numbers(Txn *t)
{
	for (int i = 0; i < t->nheld; i++)
	{
		NumberHold *hold = &t->held[i].hold;
		NumberHold	before = *hold;

		number_commit(hold, nest_level(t));
		if (mutation == RELEASE_KEEPS_LEVEL)
			hold->level = before.level;
		if (mutation == RELEASE_KEEPS_LEASED_LEVEL)
			hold->leased_level = before.leased_level;
	}
}

/* Commit: numbers of orders are forgotten, those of credit are listed. */
static int32
commit_numbers(Txn *t, const Hold *hold, int32 *numbers)
{
	int			kept = 0;
	int32		n = 0;

	for (int i = 0; i < t->nheld; i++)
	{
		Held		held = t->held[i];

		if (!is_of(&held, hold->entry, hold->lease_id))
			t->held[kept++] = held;
		else if (held.hold.credit)
			numbers[n++] = held.hold.number;
	}
	t->nheld = kept;
	return n;
}

void
commit_hold(Txn *t, Hold *hold)
{
	int32		credit = mutation == CREDIT_BEFORE_COMMIT ? 0 : hold->credit;
	int32		numbers[HOLDS];
	int32		n = commit_numbers(t, hold, numbers);

	stock_add_numbers(hold->entry, hold->lease_id, numbers, n);
	stock_adjust(hold->entry, hold->lease_id, credit,
				 -(hold->hold + hold->credit));
	if (hold->refiller)
		hold->entry->refilling = false;
	drop_hold(t, hold);
	step_on(t, "commit: release hold");
}
