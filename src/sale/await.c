/*
 * await.c
 *		What a purchase that finds too few units does: judge, wait, end a lease
 *		with lost units.
 *
 * A caller reads the generation of the cache entry, then the row, then judges.
 * The verdict is one of retry, refill, wait for a holder of units, and sold
 * out (see counters_judge()).
 *
 * Waiting for a holder ends with its (sub)transaction, after its callbacks.  A
 * transaction that has locked the row may wait for holders, so a purchase must
 * not hold units while it waits for the row.
 *
 * Units that are counted as held but that no transaction holds are lost.  Only
 * a bug can cause this, and waiters would wait forever.  Under the row lock
 * such a lease is ended and settled by its orders.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "sale/await.h"
#include "sale/settle.h"
#include "seckill.h"
#include "shmem/cache_counters.h"
#include "shmem/counters.h"
#include "shmem/holders.h"
#include "table/row_lock.h"
#include "xact/hold.h"
#include "xact/lock.h"

/*
 * Judging
 */

/*
 * The generation of an entry, to be read before the row; 0 without an entry.
 */
uint64
seckill_await_generation(CacheEntry *entry)
{
	return entry != NULL ? seckill_cache_generation(entry) : 0;
}

/*
 * Judge a purchase for which the row, read after the generation, has too few
 * units.  Without an entry units can only be on the row or in a dead lease.
 */
UnitsVerdict
seckill_await_judge(const Purchase *p, const ItemRow *row, uint64 generation)
{
	OwnUnits	own;

	if (p->entry == NULL)
		return row->leased > 0 ? UNITS_REFILL : UNITS_SOLD_OUT;
	seckill_hold_own_units(p->entry, &own);
	return seckill_cache_judge(p->entry, generation, row, p->quantity, &own);
}


/*
 * Holders
 */

/*
 * Are units of the entry lost, that is, on hold for no transaction?  Looks for
 * a holder without a lock first, and if there is none, under the spinlock.
 * Clears the slots of transactions that have ended: they show no holder.
 */
bool
seckill_await_has_lost(CacheEntry *entry)
{
	Holder		holder;
	OwnUnits	own;

	while (seckill_holder_find(entry, &holder))
	{
		if (!seckill_lock_xact_has_ended((TransactionId) holder.shown))
			return false;
		seckill_holder_forget(&holder);
	}
	seckill_hold_own_units(entry, &own);
	return seckill_holder_has_lost(entry, &own);
}

/*
 * End a lease with lost units, and settle it by its orders, with a warning.
 * The caller has locked the row; it holds own units of the lease, none of
 * which is written to an order.  Returns false if no units are lost by now.
 */
bool
seckill_await_end_lost(Purchase *p, ItemRow *row, int32 own)
{
	int32		units = seckill_holder_drop_lost(p->entry, own);

	if (units == 0)
		return false;
	ereport(WARNING,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("%d units of item " INT64_FORMAT " were on hold for no transaction",
					units, p->item_id),
			 errdetail("The lease is ended and settled by its orders.")));
	seckill_settle(p, row);
	return true;
}

/*
 * Raise an error if this transaction has sold units of the lease.  It must not
 * end the lease: if it rolled back to a savepoint, it would lose the row lock
 * but keep those orders, and others would settle the lease without them.
 */
static void
check_unused(Purchase *p, int32 own)
{
	if (seckill_hold_uses(p->entry, own))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("units of item " INT64_FORMAT " are on hold for no transaction",
						p->item_id),
				 errdetail("They cannot be given back by a transaction that has bought units of the item itself."),
				 errhint("Roll back, and give them back with seckill_recall(" INT64_FORMAT ").",
						 p->item_id)));
}

/*
 * End a lease with lost units, as seckill_await_end_lost() does; raise an
 * error if this transaction has sold units of it.
 */
bool
seckill_await_drop_lost(Purchase *p, ItemRow *row, int32 own)
{
	check_unused(p, own);
	return seckill_await_end_lost(p, row, own);
}

/*
 * Wait for the end of one (sub)transaction that holds units of the entry, if
 * there is one.  The wait ends after its callbacks.
 */
void
seckill_await_holder(CacheEntry *entry)
{
	Holder		holder;
	TransactionId xid;

	CHECK_FOR_INTERRUPTS();
	if (!seckill_holder_find(entry, &holder))
		return;
	xid = (TransactionId) holder.shown;
	seckill_lock_await_xact(xid);
	seckill_holder_forget(&holder);
}

/*
 * Wait for a holder of units; if units are lost, lock the row and return them
 * to it instead.
 */
void
seckill_await_units(Purchase *p)
{
	ItemRow		row;

	if (!seckill_await_has_lost(p->entry))
	{
		seckill_await_holder(p->entry);
		return;
	}
	check_unused(p, 0);
	seckill_item_lock_row(p->item_id, &row);
	(void) seckill_await_end_lost(p, &row, 0);
}
