/*
 * callbacks.c
 *		What happens when a transaction or subtransaction ends.
 *
 * The only transaction callbacks of the extension.  Each file owns its state
 * and the functions that end it; this file calls them in the one right order.
 * They raise no error: only PRE_PREPARE may.
 *
 * At COMMIT the transaction is already visible to others, and its locks are
 * not released yet: a session that waits for it finds the cache in order.
 *
 *	1. Announce the rows changed, and drop the cache entries of dropped tables
 *	   and everything in shared memory about a dropped database.
 *	2. Tell the seat maps which seats are sold or returned.
 *	3. End the holds: give units to the cache.  This is after the rows are
 *	   announced: a buyer that proves "sold out" must not find the units gone
 *	   from both row and cache (see counters_judge()).
 *	4. Give up what was claimed of users and requests.
 *	5. Publish what the queue worker has decided.  A buyer that gets its answer
 *	   then finds the units accounted for.
 *	6. Tell the maintenance worker what is due.  It finds committed rows.
 *	7. Forget what was changed, and unpin the entries that 1 and 3 needed.
 *
 * At ABORT nothing is announced or published.  A purchase of ours that waits
 * in the ring is taken out, or a WARNING says that it is too late for that.
 */
#include "postgres.h"

#include "access/xact.h"

#include "base/fault.h"
#include "callbacks.h"
#include "shmem/cache.h"
#include "shmem/ring_wait.h"
#include "shmem/schedule.h"
#include "worker/queue_worker.h"
#include "xact/changes.h"
#include "xact/hash_lock.h"
#include "xact/hold.h"
#include "xact/seat_hold.h"

static void
forget_all(void)
{
	seckill_change_end();
	seckill_cache_unpin_level(0);
}

static void
end_transaction(bool committed)
{
	if (committed)
		seckill_change_announce();
	SECKILL_CRASH("transaction has ended");
	seckill_seat_hold_end(committed);
	seckill_hold_end(committed);
	SECKILL_CRASH("holds have ended");
	seckill_hash_lock_end();
	if (committed)
		seckill_queue_worker_committed();
	else
		seckill_ring_abandon();
	seckill_schedule_end(committed);
	forget_all();
}

/*
 * No callback runs at COMMIT PREPARED, so a prepared transaction can have no
 * holds, and nothing to tell the cache about whole tables.
 */
static void
refuse_prepare(void)
{
	SECKILL_FAULT("transaction is to be prepared");
	if (!seckill_hold_any() && !seckill_change_emptied_items())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot prepare a transaction that holds units of the stock cache or empties its tables"),
			 errdetail("The cache is not told of COMMIT PREPARED."),
			 errhint("In transactions that are to be prepared, buy with a mode that works on the row, after SELECT seckill_recall(item_id).")));
}

static void
on_xact_event(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			end_transaction(true);
			break;
		case XACT_EVENT_ABORT:
			end_transaction(false);
			break;
		case XACT_EVENT_PRE_PREPARE:
			refuse_prepare();
			break;
		case XACT_EVENT_PREPARE:
			/* others see what it changes when they next read the row */
			seckill_seat_hold_prepare();
			seckill_hash_lock_end();
			seckill_schedule_end(false);
			forget_all();
			break;
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			/* a parallel worker writes no order: its holds are undone */
			end_transaction(false);
			break;
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			break;
	}
}

/* Give the holds and notes of the level to its parent. */
static void
commit_level(int level)
{
	SECKILL_CRASH("level has committed");
	seckill_hold_commit_level(level);
	seckill_seat_hold_commit_level(level);
	seckill_change_commit_level(level);
}

/*
 * Undo the holds of the level and of those inside it, and forget their notes
 * and pins.
 */
static void
abort_level(int level)
{
	seckill_hold_abort_level(level);
	seckill_seat_hold_abort_level(level);
	seckill_change_abort_level(level);
	seckill_cache_unpin_level(level);
}

static void
on_subxact_event(SubXactEvent event, SubTransactionId mySubid,
				 SubTransactionId parentSubid, void *arg)
{
	switch (event)
	{
		case SUBXACT_EVENT_COMMIT_SUB:
			commit_level(GetCurrentTransactionNestLevel());
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			abort_level(GetCurrentTransactionNestLevel());
			break;
		case SUBXACT_EVENT_START_SUB:
		case SUBXACT_EVENT_PRE_COMMIT_SUB:
			break;
	}
}

void
seckill_callbacks_init(void)
{
	RegisterXactCallback(on_xact_event, NULL);
	RegisterSubXactCallback(on_subxact_event, NULL);
}
