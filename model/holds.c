/*
 * holds.c
 *		Units of the cache that a transaction has on hold: src/xact/hold.c of
 *		the extension.
 *
 * A hold is of one entry, lease and transaction level.  Commit turns its
 * credit into units on sale; abort returns its units to the cache.  A held
 * number knows the levels that leased and took it (src/shmem/numbers.h).
 */
#include <string.h>

#include "cache.h"
#include "holds.h"
#include "laws.h"
#include "sets.h"
#include "steps.h"
#include "world.h"

/* The hold of an entry, level and lease, or NULL. */
Hold *
find_hold(Txn *t, Entry *entry, int level, int64 lease_id)
{
	for (int i = 0; i < t->nholds; i++)
		if (t->holds[i].entry == entry && t->holds[i].level == level &&
			t->holds[i].lease_id == lease_id)
			return &t->holds[i];
	return NULL;
}

/* The hold of an entry and lease at the current level; makes one if needed. */
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

/* Show the hold to waiters if it has units. */
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

/* Is there room for the holds that one call can need? */
bool
hold_has_slot(const Txn *t)
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

/* Units of the entry's lease that the transaction holds, at all levels. */
OwnUnits
hold_own_units(const Txn *t, const Entry *entry)
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
is_of(const HeldNumber *held, const Entry *entry, int64 lease_id)
{
	return held->entry == entry && held->lease_id == lease_id;
}

static void
add_number(Txn *t, Entry *entry, int64 lease_id, const NumberHold *hold)
{
	if (t->nheld == HOLDS)
		broken("the model has too few slots for held numbers", entry->item);
	t->held[t->nheld].entry = entry;
	t->held[t->nheld].lease_id = lease_id;
	t->held[t->nheld++].hold = *hold;
}

/* Hold numbers that the current level has leased from the row. */
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
	if (!entry->has_ring)
		broken("units are sold without their numbers", entry->item);
	ring_take(&entry->ring, numbers, units);
	for (int32 i = 0; i < units; i++)
	{
		hold.number = numbers[i];
		add_number(t, entry, taken->lease_id, &hold);
		taken->numbers |= set_of(numbers[i]);
	}
}

/* Take numbers of the transaction's own credit, the first leased first. */
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
		/* step_on() ends no level, so the hold is still there */
		publish(find_hold(t, entry, t->level, taken->lease_id));
		step(t, "publish");
	}
	return units;
}

/*
 * Put quantity units on hold, from the transaction's own credit first; false
 * if there are too few.
 */
bool
hold_take(Txn *t, Entry *entry, int32 quantity, Taken *taken)
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
	cache_adjust(entry, taken->lease_id, 0, -drawn);
	draw_numbers(t, entry, drawn, taken);
	take_numbers(t, entry, quantity - drawn, taken);
	publish(hold);
	step(t, "take with credit");
	return true;
}

/* Put all of the transaction's own credit on hold; returns how many units. */
int32
hold_take_credit(Txn *t, Entry *entry, Taken *taken)
{
	int32		credit = own_credit(t, entry, entry->c.lease_id);

	taken->numbers = 0;
	return credit > 0 && hold_take(t, entry, credit, taken) ? credit : 0;
}

/*
 * Drop the numbers that a call has taken from those held; false if some are
 * not from the ring.
 */
static bool
forget_numbers(Txn *t, const Entry *entry, const Taken *taken)
{
	int			kept = 0;
	bool		of_ring = true;

	for (int i = 0; i < t->nheld; i++)
	{
		HeldNumber	held = t->held[i];

		if (is_of(&held, entry, taken->lease_id) &&
			(set_of(held.hold.number) & taken->numbers) != 0)
			of_ring &= held.hold.leased_level == 0;
		else
			t->held[kept++] = held;
	}
	t->nheld = kept;
	return of_ring;
}

/*
 * Return the units that hold_take() took from the cache.  It raises an error
 * if the transaction does not hold them.
 */
void
hold_return(Txn *t, Entry *entry, const Taken *taken, int32 units)
{
	Hold	   *hold = find_hold(t, entry, t->level, taken->lease_id);
	int32		numbers[NUMBERS];

	if (hold == NULL || hold->hold < units)
		raise_error(t);
	if (!forget_numbers(t, entry, taken))
		broken("units of the credit are returned", entry->item);
	hold->hold -= units;
	cache_return_numbers(entry, taken->lease_id, numbers,
						 set_list(taken->numbers, numbers));
	cache_adjust(entry, taken->lease_id, units, -units);
	publish(hold);
	if (hold->hold == 0 && hold->credit == 0 && !hold->refiller)
		drop_hold(t, hold);
}

/* Call number_abort(), unless a mutation decides what happens instead. */
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
 * Process the abort of a level for the held numbers of a lease, or, if entry
 * is NULL, for all held numbers.  Writes those that return to the ring into
 * numbers and returns how many they are.
 */
static int32
abort_numbers(Txn *t, const Entry *entry, int64 lease_id, int32 level,
			  int32 *numbers)
{
	int			kept = 0;
	int32		n = 0;

	for (int i = 0; i < t->nheld; i++)
	{
		HeldNumber	held = t->held[i];
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

/* Undo a hold: its units return to the cache, its credit is lost. */
void
abort_hold(Txn *t, Hold *hold)
{
	int32		numbers[HOLDS];
	int32		n = abort_numbers(t, hold->entry, hold->lease_id,
								  hold->level + 1, numbers);

	if (n > hold->hold && mutation == SOUND)
		broken("more numbers than units are returned", hold->entry->item);
	cache_return_numbers(hold->entry, hold->lease_id, numbers, n);
	cache_adjust(hold->entry, hold->lease_id,
				 n > hold->hold ? n : hold->hold,
				 -(hold->hold + hold->credit));
	if (hold->refiller)
		hold->entry->refilling = false;
	drop_hold(t, hold);
	step_on(t, "abort: give back");
}

/* Drop the numbers of the aborted level, once its holds are undone. */
void
hold_numbers_abort_level(Txn *t)
{
	int32		numbers[HOLDS];

	(void) abort_numbers(t, NULL, 0, nest_level(t), numbers);
}

/* Move the numbers of a released level to the level above. */
void
hold_numbers_commit_level(Txn *t)
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

/*
 * Drop the numbers of a hold at commit.  Writes those of its credit, which go
 * on sale, into numbers and returns how many they are.
 */
static int32
commit_numbers(Txn *t, const Hold *hold, int32 *numbers)
{
	int			kept = 0;
	int32		n = 0;

	for (int i = 0; i < t->nheld; i++)
	{
		HeldNumber	held = t->held[i];

		if (!is_of(&held, hold->entry, hold->lease_id))
			t->held[kept++] = held;
		else if (held.hold.credit)
			numbers[n++] = held.hold.number;
	}
	t->nheld = kept;
	return n;
}

/* End a hold at commit: its credit goes on sale. */
void
commit_hold(Txn *t, Hold *hold)
{
	int32		credit = mutation == CREDIT_BEFORE_COMMIT ? 0 : hold->credit;
	int32		numbers[HOLDS];
	int32		n = commit_numbers(t, hold, numbers);

	cache_add_numbers(hold->entry, hold->lease_id, numbers, n);
	cache_adjust(hold->entry, hold->lease_id, credit,
				 -(hold->hold + hold->credit));
	if (hold->refiller)
		hold->entry->refilling = false;
	drop_hold(t, hold);
	step_on(t, "commit: release hold");
}
