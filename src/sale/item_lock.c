/*
 * item_lock.c
 *		TODO
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"

#include "base/fault.h"
#include "sale/item_lock.h"
#include "seckill.h"
#include "table/items.h"
#include "xact/changes.h"
#include "xact/lock.h"

/*
 * Lease
 */

/*
 * Does this transaction have the row locked, by our doing or by statements of
 * the application's?  Of the latter only a try can tell, which locks the row
 * if nobody has.  Such a transaction must not wait for the refiller or in the
 * line, where somebody may be waiting for just that lock.
 */
bool
seckill_item_lock_has_row(int64 item_id)
{
	ItemRow		row;

	return seckill_change_locked_row(item_id) ||
		(TransactionIdIsValid(GetTopTransactionIdIfAny()) &&
		 seckill_item_try_lock_row(item_id, &row));
}

/*
 * Stand in line for the item: on a heavyweight lock of its own, held to the
 * end of the transaction.  PostgreSQL queues for a row on a lock of one version
 * of it: each update wakes all who wait, to queue again at the next version, in
 * any order.  This line is first come, first served, and wakes one at a time.
 * Who has the row already must not stand behind those who wait for it.
 */
void
seckill_item_lock_acquire(int64 item_id)
{
	LOCKTAG		tag;

	if (seckill_item_lock_has_row(item_id))
		return;
	seckill_lock_tag(&tag, item_id, SECKILL_LOCK_ITEM);
	(void) seckill_lock_acquire(&tag, ExclusiveLock, true);
	SECKILL_FAULT("line joined");
}
