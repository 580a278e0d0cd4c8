/*
 * callbacks.c
 *		TODO
 */
#include "postgres.h"

#include "access/xact.h"
#include "replication/walsender.h"

#include "base/fault.h"
#include "callbacks.h"
#include "shmem/cache.h"
#include "shmem/ring_wait.h"
#include "shmem/schedule.h"
#include "worker/queue_worker.h"
#include "xact/changes.h"
#include "xact/hold.h"

/*
 * The end of a transaction
 */

static void
forget_all(void)
{
	seckill_change_end();
	seckill_cache_unpin_level(0);
}

/*
 * Units are given to the cache after the rows are announced: who proves
 * "sold out" must not find them gone from both (see seckill_cache_judge).
 */
static void
end_transaction(bool committed)
{
	if (committed)
		seckill_change_announce();
	SECKILL_CRASH("transaction has ended");
	seckill_hold_end(committed);
	SECKILL_CRASH("holds have ended");
	if (committed)
		seckill_queue_worker_committed();
	else
		seckill_ring_abandon();
	seckill_schedule_end(committed);
	forget_all();
}

static void
refuse_prepare(void)
{
	SECKILL_FAULT("transaction is to be prepared");
	if (!seckill_hold_any() && !seckill_change_emptied_items())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot prepare a transaction that holds units of the stock cache or empties its tables"),
			 errdetail("The cache would not hear of COMMIT PREPARED."),
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
			seckill_schedule_end(false);
			forget_all();
			break;
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			/* a parallel worker writes no order: what it has goes back */
			end_transaction(false);
			break;
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			break;
	}
}


/*
 * The end of a subtransaction
 */

static void
commit_level(int level)
{
	SECKILL_CRASH("level has committed");
	seckill_hold_commit_level(level);
	seckill_change_commit_level(level);
}

static void
abort_level(int level)
{
	seckill_hold_abort_level(level);
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
