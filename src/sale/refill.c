/*
 * refill.c
 *		Refill: leasing units from an item's row for the cache.
 *
 * A purchase in cache mode that finds the entry short refills it: under the
 * row lock it leases units, which become its own credit at once and go to the
 * cache when it commits (see lease.c).
 *
 * One transaction per item refills at a time.  This role, the refiller, is a
 * heavyweight lock and a flag on the entry.  It is kept to the end of the
 * (sub)transaction, after the callbacks have given the cache its units, unless
 * it is given up before.  Other buyers wait for the refiller, not for the row.
 *
 * A transaction that has locked the row refills without the role, as the
 * refiller may be waiting for that row.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "base/check.h"
#include "base/fault.h"
#include "base/settings.h"
#include "sale/await.h"
#include "sale/item_lock.h"
#include "sale/lease.h"
#include "sale/refill.h"
#include "sale/settle.h"
#include "seckill.h"
#include "shmem/cache_counters.h"
#include "shmem/cache_numbers.h"
#include "shmem/counters.h"
#include "shmem/stat.h"
#include "table/item_row.h"
#include "table/row_lock.h"
#include "xact/changes.h"
#include "xact/hold.h"
#include "xact/lock.h"

/*
 * Refilling
 */

/*
 * The number of units that one refill leases, so that few calls have to
 * refill: a tenth of seckill.lease_units for each purchase of the call, and at
 * least seckill.lease_units.
 */
static int32
lease_size(const Purchase *p)
{
	int64		size = (int64) p->batch_size * (seckill_lease_units / 10);

	return (int32) Min(Max(size, seckill_lease_units), PG_INT32_MAX);
}

/*
 * Has the entry no room for the numbers that p lacks?  Each number on sale or
 * on hold takes a place in the entry's number ring.
 */
static bool
has_no_room(Purchase *p, const ItemRow *row, int32 missing)
{
	return row->rules.numbered &&
		(seckill_cache_number_room(p->entry) < missing ||
		 !seckill_cache_add_ring(p->entry, false));
}

/*
 * Lock the row, lease what p lacks and more for later purchases, and take p's
 * units.  Returns false if row and cache together are short, or, with no_room
 * set, if the entry has no room for the numbers of the units.
 */
static bool
refill(Purchase *p, TakenUnits *taken)
{
	ItemRow		row;
	OwnUnits	own;
	int32		missing;

	seckill_item_lock_row_anywhere(p->item_id, &row);
	if (row.rules.place != PLACE_HERE)
		return false;
	seckill_settle(p, &row);
	seckill_hold_own_units(p->entry, &own);
	missing = p->quantity - own.credit - seckill_cache_avail(p->entry);
	if (missing > 0)
	{
		if (row.stock < missing)
			return false;
		p->no_room = has_no_room(p, &row, missing);
		if (p->no_room)
			return false;
		(void) seckill_lease_move_to_cache(p, &row, Min(row.stock, Max(missing, lease_size(p))));
		seckill_stat_note_refill();
	}
	return seckill_hold_take(p->entry, p->quantity, taken);
}

/*
 * Become the refiller of the item.  Returns false if the role is taken and the
 * caller may not wait for it.
 */
static bool
start_refill(Purchase *p, bool may_wait)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, p->item_id, SECKILL_LOCK_REFILL);
	if (!seckill_lock_acquire(&tag, ExclusiveLock, may_wait))
		return false;
	SECKILL_FAULT("refiller's lock taken");
	seckill_hold_start_refill(p->entry);
	SECKILL_FAULT("refiller's role taken");
	return true;
}

/* Give up the role before the end of the transaction. */
static void
end_refill(Purchase *p)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, p->item_id, SECKILL_LOCK_REFILL);
	seckill_hold_end_refill(p->entry);
	SECKILL_FAULT("refiller's role given up");
	seckill_lock_release(&tag, ExclusiveLock);
}

/*
 * Wait until the role is free.  The share lock lets all waiters wake at once.
 */
static void
await_refiller(Purchase *p)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, p->item_id, SECKILL_LOCK_REFILL);
	(void) seckill_lock_acquire(&tag, ShareLock, true);
	/* no transaction has the role now, so a flag that is set is lost */
	if (seckill_cache_is_refilling(p->entry))
		seckill_cache_set_refilling(p->entry, false);
	SECKILL_FAULT("refiller awaited");
	seckill_lock_release(&tag, ShareLock);
}

/*
 * Refill in the role of the refiller, unless the cache has units by now.
 * Returns whether p has its units; if not, the role is given up.
 */
static bool
refill_in_role(Purchase *p, TakenUnits *taken)
{
	bool		done = seckill_cache_avail(p->entry) < p->quantity &&
		refill(p, taken);

	if (!done)
		end_refill(p);
	return done;
}

/*
 * Refill as the refiller, or wait for the refiller.  Returns whether p has its
 * units; if not, the caller retries.
 *
 * If the role's lock is taken but the flag is not set, waiters of the last
 * refiller have the lock, for a moment each.  In a crowd one of them has it at
 * any moment; so p queues for the exclusive lock, and later waiters queue
 * behind it.
 */
static bool
refill_in_turn(Purchase *p, TakenUnits *taken)
{
	if (seckill_change_locked_row(p->item_id))
		return refill(p, taken);
	if (start_refill(p, false))
		return refill_in_role(p, taken);
	if (seckill_item_lock_has_row(p->item_id))
		return refill(p, taken);
	if (seckill_cache_is_refilling(p->entry))
	{
		await_refiller(p);
		return false;
	}
	(void) start_refill(p, true);
	return refill_in_role(p, taken);
}


/*
 * Obtaining units
 */

/*
 * Put p's units on hold after the cache was found short: refill, and wait for
 * the refiller and for holders.  Returns false if p is sold out, or with
 * no_room set.  Each turn reads generation, row and counters in this order, see
 * counters_judge().
 */
bool
seckill_refill_obtain(Purchase *p, TakenUnits *taken)
{
	for (;;)
	{
		uint64		generation = seckill_await_generation(p->entry);
		ItemRow		row;

		CHECK_FOR_INTERRUPTS();
		if (seckill_hold_take(p->entry, p->quantity, taken))
			return true;
		if (!seckill_item_read_latest(p->item_id, &row))
			seckill_unknown_item(p->item_id);
		p->rules.place = row.rules.place;
		if (row.rules.place != PLACE_HERE)
			return false;
		switch (seckill_await_judge(p, &row, generation))
		{
			case UNITS_RETRY:
				break;
			case UNITS_WAIT:
				seckill_await_units(p);
				break;
			case UNITS_SOLD_OUT:
				return false;
			case UNITS_REFILL:
				/* without a ring the row need not be locked here */
				p->no_room = row.rules.numbered &&
					!seckill_cache_add_ring(p->entry, false);
				if (p->no_room)
					return false;
				if (refill_in_turn(p, taken))
					return true;
				if (p->no_room)
					return false;
				break;
		}
	}
}

/*
 * Refill a cache that runs low, if the role and the row can be locked without
 * waiting.  Does nothing inside a transaction block, which could keep the row
 * locked for long.
 */
void
seckill_refill_ahead(Purchase *p)
{
	ItemRow		row;
	bool		leased = false;

	if (IsTransactionBlock() || IsSubTransaction() ||
		IsolationUsesXactSnapshot() || !seckill_hold_has_slot() ||
		!start_refill(p, false))
		return;
	if (seckill_item_try_lock_row(p->item_id, &row))
	{
		leased = row.stock > 0 && row.rules.place == PLACE_HERE &&
			row.lease_id == seckill_cache_lease_id(p->entry) &&
			seckill_lease_move_to_cache(p, &row, Min(row.stock, lease_size(p))) > 0;
		if (leased)
			seckill_stat_note_refill();
		else
			seckill_cache_set_row_exhausted(p->entry, row.stock == 0 && !row.mine);
	}
	if (!leased)
		end_refill(p);
}
