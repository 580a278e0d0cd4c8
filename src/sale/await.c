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
seckill_lease_generation(const Purchase *p)
{
	return p->entry != NULL ? seckill_stock_generation(p->entry) : 0;
}

/* What is to be done about a row that is short, read after generation. */
StockVerdict
seckill_lease_judge(const Purchase *p, const ItemRow *row, uint64 generation)
{
	StockOwn	own;

	if (p->entry == NULL)
		return row->leased > 0 ? STOCK_ON_ROW : STOCK_OUT;
	seckill_xact_own(p->entry, &own);
	return seckill_stock_judge(p->entry, generation, row, p->quantity, &own);
}


/*
 * Holders
 */

/*
 * Are units of the entry on hold that no transaction has?  They were lost by a
 * bug: whoever waited for their holder would wait forever.
 */
bool
seckill_lease_has_lost(StockEntry *entry)
{
	StockHolder holder;
	StockOwn	own;

	if (seckill_stock_other_holder(entry, &holder))
		return false;
	seckill_xact_own(entry, &own);
	return seckill_stock_has_lost(entry, &own);
}

/*
 * End the lease whose units are lost, and settle it: the tables tell what was
 * sold.  The caller has locked the row, and of the lease has only so many units
 * on hold, not written to any order.  False if none are lost by now.
 */
bool
seckill_lease_end_lost(Purchase *p, ItemRow *row, int32 own)
{
	int32		units = seckill_stock_drop_lost(p->entry, own);

	if (units == 0)
		return false;
	ereport(WARNING,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("%d units of item " INT64_FORMAT " were on hold for no transaction",
					units, p->item_id),
			 errdetail("The lease is ended and settled by its orders.")));
	seckill_lease_settle(p, row);
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
	if (seckill_xact_uses(p->entry, own))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("units of item " INT64_FORMAT " are on hold for no transaction",
						p->item_id),
				 errdetail("They cannot be given back by a transaction that has bought units of the item itself."),
				 errhint("Roll back, and give them back with seckill_recall(" INT64_FORMAT ").",
						 p->item_id)));
}

/* The same as seckill_lease_end_lost(), or an error. */
bool
seckill_lease_drop_lost(Purchase *p, ItemRow *row, int32 own)
{
	check_unused(p, own);
	return seckill_lease_end_lost(p, row, own);
}

/*
 * Wait for the end of a transaction that holds units of the entry, if there is
 * one.  The wait ends after the callbacks of that transaction.
 */
void
seckill_lease_await_holder(StockEntry *entry)
{
	StockHolder holder;
	TransactionId xid;

	CHECK_FOR_INTERRUPTS();
	if (!seckill_stock_other_holder(entry, &holder))
		return;
	xid = (TransactionId) holder.shown;
	seckill_lock_await_xact(xid);
	seckill_stock_forget_holder(&holder);
}

/*
 * Wait for a holder of units, or, if they have none, give them back to the row,
 * which is locked for that.
 */
void
seckill_lease_await_units(Purchase *p)
{
	ItemRow		row;

	if (!seckill_lease_has_lost(p->entry))
	{
		seckill_lease_await_holder(p->entry);
		return;
	}
	check_unused(p, 0);
	seckill_ledger_lock(p->item_id, &row);
	(void) seckill_lease_end_lost(p, &row, 0);
}
