/*
 * await.c
 *		TODO
 */
#include "postgres.h"

#include "miscadmin.h"

#include "sale/await.h"
#include "sale/settle.h"
#include "seckill.h"
#include "shmem/cache_counters.h"
#include "shmem/counters.h"
#include "shmem/holders.h"
#include "table/items.h"
#include "xact/hold.h"
#include "xact/lock.h"

/*
 * Lease
 */

uint64
seckill_await_generation(const Purchase *p)
{
	return p->entry != NULL ? seckill_cache_generation(p->entry) : 0;
}

/* What is to be done about a row that is short, read after generation. */
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
 * Are units of the entry on hold that no transaction has?  They were lost by a
 * bug: whoever waited for their holder would wait forever.
 */
bool
seckill_await_has_lost(CacheEntry *entry)
{
	Holder		holder;
	OwnUnits	own;

	if (seckill_holder_find(entry, &holder))
		return false;
	seckill_hold_own_units(entry, &own);
	return seckill_holder_has_lost(entry, &own);
}

/*
 * End the lease whose units are lost, and settle it: the tables tell what was
 * sold.  The caller has locked the row, and of the lease has only so many units
 * on hold, not written to any order.  False if none are lost by now.
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
 * A transaction that has sold units of the lease cannot end it: others would
 * settle it without its orders, if it went back to a savepoint and so lost the
 * row, but not these.
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

/* The same as seckill_await_end_lost(), or an error. */
bool
seckill_await_drop_lost(Purchase *p, ItemRow *row, int32 own)
{
	check_unused(p, own);
	return seckill_await_end_lost(p, row, own);
}

/*
 * Wait for the end of a transaction that holds units of the entry, if there is
 * one.  The wait ends after the callbacks of that transaction.
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
 * Wait for a holder of units, or, if they have none, give them back to the row,
 * which is locked for that.
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
