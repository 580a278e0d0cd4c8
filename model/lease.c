/*
 * lease.c
 *		Units between row and cache: src/lease.c of the extension.
 */
#include "cache.h"
#include "chance.h"
#include "holds.h"
#include "laws.h"
#include "lease.h"
#include "sets.h"
#include "steps.h"
#include "tables.h"
#include "world.h"

/* The numbers of a lease that is lost, and as many as the counts say. */
static void
settle_numbers(const Txn *t, int item, ItemRow *row, int32 left)
{
	NumberSet	numbers;

	if (!row->numbered)
		return;
	numbers = unsold_on_lease(t, item, row);
	if (set_count(numbers) != left)
		broken("a settle finds other numbers than the counts say", item);
	row->free |= numbers;
}

/* Make row and cache agree; the row is locked. */
void
lease_settle(Txn *t, int item, ItemRow *row)
{
	int32		left;

	if (t->pin == NULL)
		stock_find(t, item);
	if (t->pin != NULL && counters_stale(&t->pin->c, row))
	{
		counts[STALE]++;
		stock_renew(t->pin, t->pin->c.lease_id);
		step(t, "settle: renew");
	}
	if (row->leased == 0 ||
		(t->pin != NULL && row->lease_id == t->pin->c.lease_id))
		return;
	left = row->leased - sold_on_lease(t, item, row->lease_id);
	if (left < 0)
		broken("a settle finds more sold than leased", item);
	settle_numbers(t, item, row, left);
	row->stock += left;
	row->leased = 0;
	row->lease_id = 0;
	counts[SETTLES]++;
	write_row(t, item, row, true);
}

/* Move units of the locked row to the cache; it gets them at commit. */
void
lease_units(Txn *t, int item, ItemRow *row, int32 units)
{
	Entry	   *entry = t->pin;
	int64		lease_id = entry->c.lease_id;
	NumberSet	numbers = set_first(row->free, units);
	int32		list[NUMBERS];
	Hold	   *hold;

	if (row->leased > 0 && row->lease_id != lease_id)
		broken("a refill meets another lease", item);
	row->stock -= units;
	row->leased += units;
	row->lease_id = lease_id;
	row->free &= ~numbers;
	write_row(t, item, row, false);
	entry->numbered = row->numbered;
	hold = get_hold(t, entry, lease_id);
	if (mutation == CREDIT_BEFORE_COMMIT)
	{
		stock_add_numbers(entry, lease_id, list, set_list(numbers, list));
		stock_adjust(entry, lease_id, units, 0);
	}
	else
	{
		credit_numbers(t, entry, lease_id, numbers);
		hold->credit += units;
		stock_adjust(entry, lease_id, 0, units);
	}
	publish(hold);
	step(t, "credit");
}

/* How many of so many units may be leased: the ring must have room for all. */
int32
lease_at_most(const Txn *t, const ItemRow *row, int32 units)
{
	int32		room = ring_room(&t->pin->c);

	if (units > row->stock)
		units = row->stock;
	if (row->numbered && units > room && mutation != REFILL_BEYOND_RING)
		units = room;
	return units;
}

static bool
refill(Txn *t, Taken *taken)
{
	ItemRow		row = lock_row(t, t->item);
	int32		missing;

	lease_settle(t, t->item, &row);
	missing = t->quantity - xact_own(t, t->pin).credit - t->pin->c.avail;
	step(t, "what is missing");
	if (missing > row.stock)
		return false;
	if (missing > 0)
	{
		int32		units = missing > LEASE_UNITS ? missing : LEASE_UNITS;

		units = lease_at_most(t, &row, units);
		taken->full = units < missing && mutation != REFILL_FULL_RING;
		if (units < missing)
			return false;
		lease_units(t, t->item, &row, units);
	}
	return xact_take(t, t->pin, t->quantity, taken);
}

/* Become the refiller.  Others look at the lock for a moment only. */
static bool
start_refill(Txn *t, bool may_wait)
{
	if (may_wait)
		take_lock(t, &roles[t->item], "wait for the role");
	else if (one_in(8) || !try_lock(t, &roles[t->item]))
		return false;
	t->pin->refilling = true;
	get_hold(t, t->pin, t->pin->c.lease_id)->refiller = true;
	step(t, "start refill");
	return true;
}

static void
end_refill(Txn *t)
{
	for (int i = 0; i < t->nholds; i++)
	{
		Hold	   *hold = &t->holds[i];

		if (hold->entry != t->pin || hold->level != t->level ||
			!hold->refiller)
			continue;
		hold->refiller = false;
		t->pin->refilling = false;
		if (hold->hold == 0 && hold->credit == 0)
			drop_hold(t, hold);
		break;
	}
	step(t, "end refill");
	if (roles[t->item].owner == t->id && roles[t->item].level == t->level)
		roles[t->item].owner = NOBODY;
}

/* Has it the row?  If nobody has, and it has an xid, it has it now. */
static bool
owns_row(Txn *t, int item)
{
	if (row_locks[item].owner == t->id)
		return true;
	if (!t->wrote)
		return false;
	open_items(t);
	return try_lock(t, &row_locks[item]);
}

void
line_up(Txn *t, int item)
{
	if (owns_row(t, item))
		return;
	take_lock(t, &lines[item], "wait in line");
	step(t, "line up");
}

static bool
refill_in_role(Txn *t, Taken *taken)
{
	bool		done = t->pin->c.avail < t->quantity && refill(t, taken);

	if (!done)
		end_refill(t);
	return done;
}

static bool
refill_in_turn(Txn *t, Taken *taken)
{
	if (row_locks[t->item].owner == t->id)
		return refill(t, taken);
	if (start_refill(t, false))
		return refill_in_role(t, taken);
	if (owns_row(t, t->item))
		return refill(t, taken);
	if (t->pin->refilling)
	{
		await_lock(t, &roles[t->item], "wait for the refiller");
		return false;
	}
	(void) start_refill(t, true);
	return refill_in_role(t, taken);
}

/* Wait for a transaction that holds units; it may not show yet. */
void
await_holder(Txn *t)
{
	for (int i = 0; i < ntxns; i++)
		for (int k = 0; i != t->id && k < txns[i].nholds; k++)
		{
			Hold	   *hold = &txns[i].holds[k];

			if (hold->entry != t->pin || !hold->shown)
				continue;
			t->wait_xid = hold->xid;
			detect_deadlock(t);
			step(t, "wait for a holder");
			stop_waiting(t);
			return;
		}
	step(t, "look for a holder");
}

UnitsVerdict
lease_judge(Txn *t, const ItemRow *row, uint64 generation)
{
	UnitsVerdict verdict;
	OwnUnits	own;

	if (t->pin == NULL)
		return row->leased > 0 ? UNITS_REFILL : UNITS_SOLD_OUT;
	own = xact_own(t, t->pin);
	step(t, "what is our own");
	verdict = stock_judge(t->pin, generation, row, t->quantity, &own);
	step(t, "judge");
	return verdict;
}

uint64
read_generation(Txn *t)
{
	uint64		generation = t->pin != NULL ? t->pin->c.generation : 0;

	step(t, "generation");
	return generation;
}

/*
 * Put units on hold by whatever it takes; false: sold out, or the ring is full
 * and the units are on the row.
 */
bool
lease_obtain(Txn *t, Taken *taken)
{
	taken->full = false;
	for (;;)
	{
		uint64		generation = read_generation(t);
		ItemRow		row;

		if (t->turns++ > MAX_TURNS)
			broken("a purchase looks for units for ever", t->item);
		if (xact_take(t, t->pin, t->quantity, taken))
			return true;
		row = peek(t, t->item);
		switch (lease_judge(t, &row, generation))
		{
			case UNITS_RETRY:
				break;
			case UNITS_WAIT:
				await_holder(t);
				break;
			case UNITS_SOLD_OUT:
				return false;
			case UNITS_REFILL:
				if (refill_in_turn(t, taken))
					return true;
				if (taken->full)
					return false;
				break;
		}
	}
}

/* Lease more, if that costs nobody a wait. */
void
top_up(Txn *t)
{
	ItemRow		row;
	int32		units;
	bool		leased = false;

	if (t->block || !start_refill(t, false))
		return;
	open_items(t);
	if (try_lock(t, &row_locks[t->item]))
	{
		row = read_row(t, t->item);
		step(t, "lock row");
		units = lease_at_most(t, &row, LEASE_UNITS);
		leased = units > 0 && row.lease_id == t->pin->c.lease_id;
		if (leased)
			lease_units(t, t->item, &row, units);
	}
	if (!leased)
		end_refill(t);
}
