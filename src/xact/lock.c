/*
 * lock.c
 *		TODO
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
 * Locks
 */

/* Lock a hash until the end of the transaction; false if that means to wait. */
bool
seckill_lock_hash(uint64 hash, uint16 class, bool may_wait)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, (int64) hash, class);
	return seckill_lock_acquire(&tag, ExclusiveLock, may_wait);
}

bool
seckill_lock_has_hash(uint64 hash, uint16 class)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, (int64) hash, class);
	return SeckillLockHeldByMe(&tag, ExclusiveLock);
}


/*
 * Lease
 */

/* The tag of a heavyweight lock of ours on an item. */
void
seckill_lock_tag(LOCKTAG *tag, int64 item_id, uint16 class)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (item_id >> 32),
						 (uint32) item_id, class);
}

/*
 * Take a lock until the end of the transaction; false if that means to wait
 * and may not.  A wait is counted.
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

/* Release a lock before the end of the transaction. */
void
seckill_lock_release(const LOCKTAG *tag, LOCKMODE mode)
{
	(void) LockRelease(tag, mode, false);
}

/*
 * Wait for the end of a transaction or subtransaction that is not ours.  The
 * wait ends after its callbacks, and is counted.
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

/* Does this transaction have a lock on the table, in any mode? */
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
 * Has somebody locked this database to drop, rename or copy it?  Takes the lock
 * that a session has as it connects, if not.
 */
bool
seckill_lock_database_is_taken(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
	return LockAcquire(&tag, RowExclusiveLock, false, true) ==
		LOCKACQUIRE_NOT_AVAIL;
}
