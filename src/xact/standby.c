/*
 * standby.c
 *		Waits until what others have committed is on disk, or on a standby.
 *
 * A call that writes nothing can answer with what others have written.  A
 * commit can be seen before it is durable: with synchronous_commit off before
 * it is on disk, with a synchronous standby before the standby has confirmed
 * it.  The answer must wait until a crash or failover cannot undo that commit.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "replication/message.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"

#include "base/compat.h"
#include "xact/standby.h"

/*
 * On disk
 */

/*
 * Wait until the commit of a transaction that we see is on disk.  With
 * synchronous_commit off, waits only if always is true, as our own commit
 * would not wait either.  The server remembers the WAL position of an
 * asynchronous commit for this purpose.
 */
void
seckill_standby_await_flush(TransactionId xid, bool always)
{
	if (TransactionIdIsCurrentTransactionId(xid) ||
		(!always && synchronous_commit == SYNCHRONOUS_COMMIT_OFF))
		return;
	XLogFlush(TransactionIdGetCommitLSN(xid));
}

/*
 * Wait until the commit that left an order or item in its state is on disk,
 * before an error reports that state.  The caller has locked the row: the WAL
 * record of that lock is behind the record of the commit.
 */
void
seckill_standby_flush_seen(void)
{
	if (synchronous_commit > SYNCHRONOUS_COMMIT_OFF)
		XLogFlush(XactLastRecEnd);
}


/*
 * Synchronous standbys
 */

/* Do commits wait for a synchronous standby? */
bool
seckill_standby_is_awaited(void)
{
	return SyncRepRequested() && SyncRepStandbyNames != NULL &&
		SyncRepStandbyNames[0] != '\0';
}

/*
 * Make our commit wait for the synchronous standby before the caller is told
 * what others have written.  What is committed and visible may not be
 * confirmed by the standby yet: the session that waited for that may have been
 * terminated, or the server restarted.  Our commit has nothing else to write,
 * so it writes a WAL record, which is behind theirs.
 */
void
seckill_standby_await(void)
{
	if (seckill_standby_is_awaited())
		SeckillLogMessage("seckill");
}
