/*
 * lease.c
 *		Moving units between row and cache: src/sale/settle.c, refill.c,
 *		lease.c, await.c and item_lock.c of the extension.
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

/*
 * Put the unsold numbers of a lost lease on the row.  Law: there are as many
 * as units are left.
 */
static void
settle_numbers(const Txn *t, int item, ItemRow *row, int32 left)
{
	NumberSet	numbers;

	if (!row->numbered)
		return;
	numbers = unsold_on_lease(t, item, row);
	if (set_count(numbers) != left)
		broken("a settle finds more or fewer numbers than units", item);
	row->free |= numbers;
}

/*
 * Make row and cache agree: renew the lease of a stale entry, and return the
 * unsold units of a dead lease to the row.  The caller has locked the row.
 */
void
settle(Txn *t, int item, ItemRow *row)
{
	int32		left;

	if (t->pin == NULL)
		entry_find(t, item);
	if (t->pin != NULL && counters_stale(&t->pin->c, row))
	{
		counts[STALE]++;
		cache_renew_lease(t->pin, t->pin->c.lease_id);
		step(t, "settle: renew");
	}
	if (row->leased == 0 ||
		(t->pin != NULL && row->lease_id == t->pin->c.lease_id))
		return;
	left = row->leased - orders_sold_on_lease(t, item, row->lease_id);
	if (left < 0)
		broken("a settle finds more sold than leased", item);
	settle_numbers(t, item, row, left);
	row->stock += left;
	row->leased = 0;
	row->lease_id = 0;
	counts[SETTLES]++;
	item_write(t, item, row, true);
}

/* Lease units of the locked row; the cache gets them at commit. */
void
lease_move_to_cache(Txn *t, int item, ItemRow *row, int32 units)
{
	Entry	   *entry = t->pin;
	int64		lease_id = entry->c.lease_id;
	NumberSet	numbers = set_first(row->free, units);
	int32		list[NUMBERS];
	Hold	   *hold;

	if (row->leased > 0 && row->lease_id != lease_id)
		broken("a refill meets another lease", item);
	entry->numbered = row->numbered;
	hold = get_hold(t, entry, lease_id);
	if (mutation == CREDIT_BEFORE_COMMIT)
	{
		cache_add_numbers(entry, lease_id, list, set_list(numbers, list));
		cache_adjust(entry, lease_id, units, 0);
	}
	else
	{
		credit_numbers(t, entry, lease_id, numbers);
		hold->credit += units;
		cache_adjust(entry, lease_id, 0, units);
	}
	publish(hold);
	step(t, "credit");
	row->stock -= units;
	row->leased += units;
	row->lease_id = lease_id;
	row->free &= ~numbers;
	item_write(t, item, row, false);
}

/*
 * Limit units to those that can be leased: the row must have them, and a ring
 * must have room for their numbers.
 */
int32
lease_size(const Txn *t, const ItemRow *row, int32 units)
{
	int32		room = ring_room(&t->pin->c);

	if (units > row->stock)
		units = row->stock;
	if (row->numbered && !cache_add_ring(t->pin))
		return 0;
	if (row->numbered && units > room && mutation != REFILL_BEYOND_RING)
		units = room;
	return units;
}

/* Lease what the purchase lacks, and put its units on hold. */
static bool
refill(Txn *t, Taken *taken)
{
	ItemRow		row = item_lock_row(t, t->item);
	int32		missing;

	settle(t, t->item, &row);
	missing = t->quantity - hold_own_units(t, t->pin).credit - t->pin->c.avail;
	step(t, "missing units");
	if (missing > row.stock)
		return false;
	if (missing > 0)
	{
		int32		units = missing > LEASE_UNITS ? missing : LEASE_UNITS;

		units = lease_size(t, &row, units);
		taken->full = units < missing && mutation != REFILL_FULL_RING;
		if (units < missing)
			return false;
		lease_move_to_cache(t, t->item, &row, units);
	}
	return hold_take(t, t->pin, t->quantity, taken);
}

/*
 * Become the refiller; false if may_wait is false and another transaction has
 * the lock.  In the extension a waiter for the refiller can have the lock for
 * a moment, too; one_in() simulates that.
 */
static bool
start_refill(Txn *t, bool may_wait)
{
	if (may_wait)
		take_lock(t, &refill_locks[t->item], "wait for the refill lock");
	else if (one_in(8) || !try_lock(t, &refill_locks[t->item]))
		return false;
	t->pin->refilling = true;
	get_hold(t, t->pin, t->pin->c.lease_id)->refiller = true;
	step(t, "start refill");
	return true;
}

/* Stop being the refiller without having leased units. */
static void
end_refill(Txn *t)
{
	Lock	   *lock = &refill_locks[t->item];

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
	if (lock->owner == t->id && lock->level == t->level)
		lock->owner = NOBODY;
}

/*
 * Does the transaction have the row locked?  If it has an xid and the row is
 * not locked, this locks it.
 */
static bool
item_lock_has_row(Txn *t, int item)
{
	if (row_locks[item].owner == t->id)
		return true;
	if (!t->wrote)
		return false;
	relation_lock_items(t);
	return try_lock(t, &row_locks[item]);
}

/*
 * Take the item lock, unless the transaction has the row locked: it must not
 * wait behind those that wait for the row.
 */
void
item_lock_acquire(Txn *t, int item)
{
	if (item_lock_has_row(t, item))
		return;
	take_lock(t, &item_locks[item], "wait for the item lock");
	step(t, "item lock");
}

/* Refill as the refiller, unless units have come meanwhile. */
static bool
refill_in_role(Txn *t, Taken *taken)
{
	bool		done = t->pin->c.avail < t->quantity && refill(t, taken);

	if (!done)
		end_refill(t);
	return done;
}

/* Refill, or wait for the refiller; true if the units are on hold. */
static bool
refill_in_turn(Txn *t, Taken *taken)
{
	if (row_locks[t->item].owner == t->id)
		return refill(t, taken);
	if (start_refill(t, false))
		return refill_in_role(t, taken);
	if (item_lock_has_row(t, t->item))
		return refill(t, taken);
	if (t->pin->refilling)
	{
		await_lock(t, &refill_locks[t->item], "wait for the refiller");
		return false;
	}
	(void) start_refill(t, true);
	return refill_in_role(t, taken);
}

/*
 * Wait for a transaction that holds units.  Returns at once if no holder has
 * published its hold yet.
 */
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

/* What a buyer does next that found the row short, read after generation. */
UnitsVerdict
await_judge(Txn *t, const ItemRow *row, uint64 generation)
{
	UnitsVerdict verdict;
	OwnUnits	own;

	if (t->pin == NULL)
		return row->leased > 0 ? UNITS_REFILL : UNITS_SOLD_OUT;
	own = hold_own_units(t, t->pin);
	step(t, "own units");
	verdict = cache_judge(t->pin, generation, row, t->quantity, &own);
	step(t, "judge");
	return verdict;
}

/* The generation of the pinned entry, to be read before the row. */
uint64
await_generation(Txn *t)
{
	uint64		generation = t->pin != NULL ? t->pin->c.generation : 0;

	step(t, "generation");
	return generation;
}

/*
 * Put units on hold; refills and waits as needed.  False: sold out, or, with
 * taken->full, the ring has no room and the units are on the row.
 */
bool
refill_obtain(Txn *t, Taken *taken)
{
	taken->full = false;
	for (;;)
	{
		uint64		generation = await_generation(t);
		ItemRow		row;

		if (t->turns++ > MAX_TURNS)
			broken("a purchase retries without end", t->item);
		if (hold_take(t, t->pin, t->quantity, taken))
			return true;
		row = item_read_latest(t, t->item);
		switch (await_judge(t, &row, generation))
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

/* Lease more units ahead of need, if no lock has to be waited for. */
void
refill_ahead(Txn *t)
{
	ItemRow		row;
	int32		units;
	bool		leased = false;

	if (t->block || !start_refill(t, false))
		return;
	relation_lock_items(t);
	if (try_lock(t, &row_locks[t->item]))
	{
		row = item_row_seen(t, t->item);
		step(t, "lock row");
		units = lease_size(t, &row, LEASE_UNITS);
		leased = units > 0 && row.lease_id == t->pin->c.lease_id;
		if (leased)
			lease_move_to_cache(t, t->item, &row, units);
	}
	if (!leased)
		end_refill(t);
}
