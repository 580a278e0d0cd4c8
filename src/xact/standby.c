/*
 * standby.c
 *		TODO
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
 * What others have committed, told to a caller who writes nothing: with
 * synchronous_commit off others see it before it is on disk.
 */

/*
 * Wait until the commit of a transaction that we see is on disk; always, or
 * unless our own commit would not wait either.  The server keeps the place of
 * an asynchronous commit in the WAL for just such a question.
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
 * Wait until the commit is on disk that left an order or item as it is, before
 * an error tells of that.  The caller has locked its row, and the record of
 * that lock follows the commit in the WAL.
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
 * The caller is about to be told what others have written.  Committed and seen
 * is not yet confirmed by the synchronous standby: who waited for that may have
 * been terminated, or the server restarted.  So our own commit shall wait, also
 * if there is nothing else to write: it is behind theirs in the WAL.
 */
void
seckill_standby_await(void)
{
	if (seckill_standby_is_awaited())
		SeckillLogMessage("seckill");
}
