/*
 * item_lock.c
 *		The item lock: a first-come-first-served queue for an item's row.
 *
 * PostgreSQL queues for a row on a lock of one version of it: each update
 * wakes all waiters, which queue again at the next version, in any order.  The
 * item lock is a heavyweight lock of its own, which wakes its waiters one at a
 * time and in order.  A transaction takes it before it waits for the row, and
 * keeps it to its end.
 *
 * A transaction that has the row locked already must not take the item lock:
 * the holder of the item lock may be waiting for that row.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"

#include "base/fault.h"
#include "sale/item_lock.h"
#include "seckill.h"
#include "table/row_lock.h"
#include "xact/changes.h"
#include "xact/lock.h"

/*
 * Has this transaction locked the row, by the extension or by statements of
 * the application?  Only an attempt to lock the row can tell the latter, and
 * it locks a row that nobody has locked.  If true, the transaction must wait
 * neither for the item lock nor for the refiller, whose holder may be waiting
 * for the row.
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
 * Take the item lock, waiting for it, and keep it to the end of the
 * transaction.  Does nothing if the transaction has locked the row already.
 */
void
seckill_item_lock_acquire(int64 item_id)
{
	if (!seckill_item_lock_has_row(item_id))
		seckill_item_lock_queue(item_id);
}

/*
 * Take the item lock as a queue for something else than the row, which the
 * caller does not lock.
 */
void
seckill_item_lock_queue(int64 item_id)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, item_id, SECKILL_LOCK_ITEM);
	(void) seckill_lock_acquire(&tag, ExclusiveLock, true);
	SECKILL_FAULT("item lock taken");
}
