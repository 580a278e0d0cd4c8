/*
 * lock.c
 *		Heavyweight locks of the current transaction, and waits for others.
 *
 * All waits of the extension but those for the queue are waits for heavyweight
 * locks: the deadlock detector sees them, lock_timeout bounds them, and each
 * is counted.  Locks are advisory ones of our own classes.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "storage/lmgr.h"

#include "base/compat.h"
#include "shmem/stat.h"
#include "xact/lock.h"

/*
 * Our classes
 */

/* Set *tag to the lock of a class on an item, or on a hash. */
void
seckill_lock_tag(LOCKTAG *tag, int64 item_id, uint16 class)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (item_id >> 32),
						 (uint32) item_id, class);
}

/*
 * Take a lock until the end of the transaction, or until it is released.
 * Returns false if another transaction has the lock and may_wait is false.
 */
bool
seckill_lock_acquire(const LOCKTAG *tag, LOCKMODE mode, bool may_wait)
{
	instr_time	start;

	if (LockAcquire(tag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL)
		return true;
	if (!may_wait)
		return false;
	INSTR_TIME_SET_CURRENT(start);
	(void) LockAcquire(tag, mode, false, false);
	seckill_stat_note_wait(start);
	return true;
}

/* Does this transaction hold the lock of a class in exclusive mode? */
bool
seckill_lock_is_mine(int64 item_id, uint16 class)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, item_id, class);
	return SeckillLockHeldByMe(&tag, ExclusiveLock);
}

/* Release a lock before the end of the transaction. */
void
seckill_lock_release(const LOCKTAG *tag, LOCKMODE mode)
{
	(void) LockRelease(tag, mode, false);
}


/*
 * Locks of others
 */

/*
 * Wait for the end of a transaction or subtransaction; returns at once if it
 * is ours.  The wait ends after the callbacks of that transaction.
 */
void
seckill_lock_await_xact(TransactionId xid)
{
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	if (!TransactionIdIsCurrentTransactionId(xid))
		XactLockTableWait(xid, NULL, NULL, XLTW_None);
	seckill_stat_note_wait(start);
}

/*
 * Have a transaction or subtransaction and its callbacks ended?  Does not wait.
 */
bool
seckill_lock_xact_has_ended(TransactionId xid)
{
	return !TransactionIdIsCurrentTransactionId(xid) &&
		SeckillXactHasEnded(xid);
}

/* Does this transaction hold a lock on the table, in any mode? */
bool
seckill_lock_has_table(Oid table)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, table);
	for (LOCKMODE mode = AccessShareLock; mode <= AccessExclusiveLock; mode++)
		if (SeckillLockHeldByMe(&tag, mode))
			return true;
	return false;
}

/*
 * Has another session locked this database to drop, rename or copy it?  If
 * not, takes the lock that a session takes when it connects.
 */
bool
seckill_lock_database_is_taken(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
	return LockAcquire(&tag, RowExclusiveLock, false, true) ==
		LOCKACQUIRE_NOT_AVAIL;
}
