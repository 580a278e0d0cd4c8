/*
 * refill.c
 *		TODO
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
#include "shmem/counters.h"
#include "shmem/stat.h"
#include "table/item_row.h"
#include "table/items.h"
#include "xact/changes.h"
#include "xact/hold.h"
#include "xact/lock.h"

/*
 * Lease
 */

/*
 * How many units one refill moves, so that one call in many has to do it: a
 * tenth of seckill.lease_units for each purchase of the call, and all of it at
 * least.
 */
static int32
lease_size(const Purchase *p)
{
	int64		size = (int64) p->batch_size * (seckill_lease_units / 10);

	return (int32) Min(Max(size, seckill_lease_units), PG_INT32_MAX);
}

/*
 * Under the row lock, lease what p lacks, and more for those who come after.
 * False if row and cache together are short.
 */
static bool
refill(Purchase *p, TakenUnits *taken)
{
	ItemRow		row;
	OwnUnits	own;
	int32		missing;

	seckill_item_lock_row(p->item_id, &row);
	seckill_settle(p, &row);
	seckill_hold_own_units(p->entry, &own);
	missing = p->quantity - own.credit - seckill_cache_avail(p->entry);
	if (missing > 0)
	{
		if (row.stock < missing)
			return false;
		seckill_lease_move_to_cache(p, &row, Min(row.stock, Max(missing, lease_size(p))));
		seckill_stat_note_refill();
	}
	return seckill_hold_take(p->entry, p->quantity, taken);
}

/*
 * Become the one refiller of the item; without leave to wait, unless somebody
 * has the lock.  The role is a heavyweight lock, held until the end of this
 * (sub)transaction, when the callbacks have given the cache its units, or
 * until it is given up.
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

static void
end_refill(Purchase *p)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, p->item_id, SECKILL_LOCK_REFILL);
	seckill_hold_end_refill(p->entry);
	SECKILL_FAULT("refiller's role given up");
	seckill_lock_release(&tag, ExclusiveLock);
}

/* Wait until the refiller has ended or given up.  All who wait wake at once. */
static void
await_refiller(Purchase *p)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, p->item_id, SECKILL_LOCK_REFILL);
	(void) seckill_lock_acquire(&tag, ShareLock, true);
	/* nobody can have the role now: one that shows is lost */
	if (seckill_cache_is_refilling(p->entry))
		seckill_cache_set_refilling(p->entry, false);
	SECKILL_FAULT("refiller awaited");
	seckill_lock_release(&tag, ShareLock);
}

/* Refill as the one refiller, unless somebody has done it by now. */
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
 * Go to the row, as the one refiller, or wait for who is.  If nobody is, the
 * lock is taken by some who waited, for a moment each; but of a crowd somebody
 * has it at any moment.  So stand in line for the role then, and those who
 * come later stand behind.
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
 * The cache was found short: put p's units on hold by whatever it takes.
 * Returns false if p is sold out.  Each turn reads generation, row and
 * counters in this order, see seckill_cache_judge().
 */
bool
seckill_refill_obtain(Purchase *p, TakenUnits *taken)
{
	for (;;)
	{
		uint64		generation = seckill_await_generation(p);
		ItemRow		row;

		CHECK_FOR_INTERRUPTS();
		if (seckill_hold_take(p->entry, p->quantity, taken))
			return true;
		if (!seckill_item_read_latest(p->item_id, &row))
			seckill_unknown_item(p->item_id);
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
				if (refill_in_turn(p, taken))
					return true;
				break;
		}
	}
}

/*
 * The cache runs low: lease more, if that costs nobody a wait.  Not inside a
 * transaction block, whose end may be far away while it has the row locked.
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
		leased = row.stock > 0 &&
			row.lease_id == seckill_cache_lease_id(p->entry);
		if (leased)
		{
			seckill_lease_move_to_cache(p, &row, Min(row.stock, lease_size(p)));
			seckill_stat_note_refill();
		}
		else
			seckill_cache_set_row_exhausted(p->entry, row.stock == 0 && !row.mine);
	}
	if (!leased)
		end_refill(p);
}
