/*
 * queue_worker.c
 *		The queue worker: decides the purchases of one database's queue.
 *
 * The first caller that needs a worker for the database asks the postmaster
 * for it.  The worker exits when it has been idle for seckill.queue_idle_time,
 * so that it does not block others: DROP DATABASE waits for that long, and
 * WITH (FORCE) does not.  When it is terminated, the postmaster starts it
 * again, and the new worker continues where the old one was.  A worker that
 * finds no queue of its database, or a queue that has a worker, exits: the
 * database was dropped, or the server has restarted after a crash.
 *
 * A turn reads the purchases that have gathered, decides them in one
 * transaction and publishes the answers in the commit callback.  Such a batch
 * never waits; a purchase that would have to is deferred to the next turn.  So
 * that the worker gets its place among others that contend for an item lock,
 * it also waits for one item of the deferred purchases, in a transaction of
 * its own.  As other purchases gather meanwhile, this wait has a timeout, and
 * a pause follows a timeout (backoff.c).
 *
 * On an error the transaction is rolled back and bisect.c retries its halves,
 * down to the purchase that fails, which alone is answered with the error.
 *
 * The queue is in shared memory (shmem/ring.c); the batch and the backoff are
 * in the worker's own memory.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/node.h"
#include "base/settings.h"
#include "sale/decide.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/ring.h"
#include "shmem/ring_worker.h"
#include "shmem/stat.h"
#include "table/plan.h"
#include "worker/backoff.h"
#include "worker/bisect.h"
#include "worker/item_set.h"
#include "worker/process.h"
#include "worker/queue_worker.h"
#include "xact/standby.h"

PGDLLEXPORT void seckill_queue_worker_main(Datum arg);

/*
 * First and longest timeout of the wait for one item's row.  A batch, which
 * waits for no row, has the first one too: its triggers on orders may meet
 * other locks.
 */
#define WAIT_MS			50
#define MAX_WAIT_MS		200

/* Pause after a wait that timed out, in multiples of its length. */
#define WAIT_SPACING		20

/* Interval between turns while all purchases are deferred. */
#define NAP_MS				10

/* Time after the last batch when an idle worker reports its statistics. */
#define REPORT_MS			1000

/* With so many failed starts in a row, a new worker waits before it starts. */
#define FREE_STARTS			3

/* What the current transaction decides, for the commit callback. */
static Purchase *batch = NULL;
static int	nbatch = 0;
static Oid	batch_items = InvalidOid;	/* OID of seckill.items */

/* The purchases read for a batch, in the order of the queue. */
static Purchase *jobs = NULL;
static int	max_jobs = 0;
static MemoryContext batch_context = NULL;

/* Was the worker told to cancel since the batch was begun? */
static volatile sig_atomic_t cancelled = false;

/*
 * The deferred item that was waited for last, and the timeout of such waits.
 */
static int64 last_item = 0;
static Backoff backoff = BACKOFF_INIT(WAIT_MS, MAX_WAIT_MS, WAIT_SPACING);


/*
 * Starting and ending
 */

/* Release the queue; the postmaster restarts a worker that has not retired. */
static void
on_exit_worker(int code, Datum arg)
{
	if (code != 0)
		seckill_ring_release(true);
}

/*
 * Claim the queue and connect to the database.  Waits first if several workers
 * have failed to start; exits if there is no queue to claim.
 */
static void
start(Oid dbid)
{
	uint32		failures;

	if (!seckill_ring_claim(dbid, &failures))
		proc_exit(0);
	before_shmem_exit(on_exit_worker, (Datum) 0);
	if (failures >= FREE_STARTS)
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 1000, seckill_ring_worker_wait_event());
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	BackgroundWorkerInitializeConnectionByOid(dbid, InvalidOid,
											  BGWORKER_BYPASS_ALLOWCONN);
	SECKILL_FAULT("worker connected");
	seckill_ring_started();
	seckill_stat_count(SECKILL_STAT_STARTS, 1);
	ereport(LOG,
			(errmsg("seckill queue worker started in database %u", dbid),
			 failures > 0 ?
			 errdetail("Starts that failed before: %u.", failures) : 0));
}

/* Exit, unless a purchase has come in. */
static void
retire_if_idle(void)
{
	SECKILL_FAULT("worker found idle");
	if (seckill_ring_retire())
		proc_exit(0);
}


/*
 * Transactions
 */

/* Note a cancel, as it may end the wait for a synchronous standby. */
static void
handle_cancel(SIGNAL_ARGS)
{
	cancelled = true;
	StatementCancelHandler(postgres_signal_arg);
}

/*
 * Have the synchronous standbys, if any, confirmed the commit?  The wait for
 * them ends early without an error if the worker is cancelled or terminated,
 * or the postmaster dies.  A session that commits itself then warns its client
 * or closes the connection; the buyers of a batch are in other sessions.
 */
static bool
is_confirmed(void)
{
	return !(cancelled || ProcDiePending) || !seckill_standby_is_awaited();
}

/* Count what the batch has decided, before it is published. */
static void
count_batch(void)
{
	int			decided = 0;
	int			reused = 0;		/* an error for the caller */

	for (int i = 0; i < nbatch; i++)
	{
		CacheEntry *entry;

		if (batch[i].outcome == SECKILL_QUEUED)
			continue;
		decided++;
		reused += batch[i].outcome == SECKILL_REQUEST_REUSED;
		entry = seckill_cache_find_in_callback(batch_items, batch[i].item_id);
		seckill_stat_decided(&batch[i], seckill_cache_index(entry),
							 seckill_ring_awaited(&batch[i]));
		seckill_cache_unpin(entry);
	}
	seckill_stat_count(SECKILL_STAT_DECIDED, decided);
	seckill_stat_count(SECKILL_STAT_FAILED, reused);
	seckill_stat_count(SECKILL_STAT_BATCHES, decided > 0);
}

/*
 * Publish what the transaction has decided.  Called in the commit callback of
 * every transaction; raises nothing.
 */
void
seckill_queue_worker_committed(void)
{
	if (nbatch > 0)
	{
		count_batch();
		seckill_ring_publish(batch, nbatch, is_confirmed());
	}
	nbatch = 0;
}

/* NOTIFY listeners of the last ticket decided, if there is one. */
static void
notify(const Purchase *list, int n)
{
	char		payload[32];

	if (!seckill_queue_notify)
		return;
	while (n > 0 && list[n - 1].outcome == SECKILL_QUEUED)
		n--;
	if (n == 0)
		return;
	snprintf(payload, sizeof(payload), INT64_FORMAT,
			 seckill_node_ticket(seckill_catalog()->node, list[n - 1].ticket));
	Async_Notify("seckill_queue", payload);
}

static const BuyerCallbacks buyers_of_queue = {
	.take = seckill_ring_take,
	.put_back = seckill_ring_put_back
};

/* Timeout of lock waits in a transaction, in ms. */
static int
lock_timeout(bool may_wait)
{
	return may_wait ? backoff.timeout_ms : WAIT_MS;
}

/* Is an undecided purchase of the same item in jobs, before the list? */
static bool
is_behind(const Purchase *job, const Purchase *list)
{
	for (const Purchase *other = jobs; other < list; other++)
		if (other->item_id == job->item_id &&
			other->outcome == SECKILL_QUEUED)
			return true;
	return false;
}

/*
 * Decide a part of jobs in one transaction.  A purchase stays undecided while
 * one of the same item before it is.  If this raises, nothing is published.
 */
static void
decide(Purchase *list, int n, bool may_wait)
{
	TableCaller caller;
	Purchase  **purchases;
	int			count = 0;

	MemoryContextSwitchTo(batch_context);
	purchases = palloc(n * sizeof(Purchase *));
	for (int i = 0; i < n; i++)
		if (!is_behind(&list[i], list))
			purchases[count++] = &list[i];
	if (count == 0)
		return;
	cancelled = false;
	seckill_process_begin(lock_timeout(may_wait));
	ForceSyncCommit();			/* the commit publishes the answers */
	seckill_table_begin(&caller);
	seckill_decide_batch(purchases, count, may_wait, &buyers_of_queue);
	seckill_table_end(&caller);
	notify(list, n);
	batch = list;
	nbatch = n;
	batch_items = seckill_catalog()->items;
	SECKILL_FAULT("batch is to be committed");
	seckill_process_commit();
}

/*
 * Roll back after an error, and return it.  The purchases are undecided again,
 * and their buyers can leave.
 */
static ErrorData *
recover(Purchase *list, int n)
{
	ErrorData  *error;

	nbatch = 0;
	error = seckill_process_recover(batch_context);
	for (int i = 0; i < n; i++)
	{
		list[i].outcome = SECKILL_QUEUED;
		list[i].order_id = 0;
		list[i].unit = 0;
		list[i].entry = NULL;
		list[i].duplicate_of = NULL;
		seckill_ring_put_back(&list[i]);
	}
	return error;
}

/* Decide a part of jobs; return NULL, or the error that rolled it back. */
static ErrorData *
try_to_decide(Purchase *list, int n, bool may_wait)
{
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		decide(list, n, may_wait);
	}
	PG_CATCH();
	{
		error = recover(list, n);
	}
	PG_END_TRY();
	return error;
}

/* Answer a purchase with an error, unless its buyer has left; log it. */
static void
fail(Purchase *job, const ErrorData *error)
{
	if (!seckill_ring_take(job))
		return;
	SECKILL_FAULT("purchase has failed");
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("purchase of item " INT64_FORMAT " by user " INT64_FORMAT " failed in the queue: %s",
					job->item_id, job->user_id,
					seckill_process_message(error))));
	seckill_stat_count(SECKILL_STAT_FAILED, 1);
	job->outcome = SECKILL_CONFLICT;	/* decided; the error tells how */
	seckill_ring_fail(job, error);
}

/*
 * Has our own lock timeout expired?  This is no failure of the purchases.  The
 * error of a trigger that does not wait for a lock looks the same, but comes
 * sooner after since.
 */
static bool
is_own_timeout(const ErrorData *error, bool may_wait, ClockTime since)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE &&
		seckill_clock() - since >= USECS(lock_timeout(may_wait));
}

/* Decide a part of jobs; Bisection.attempt. */
static void
decide_part(void *arg, BatchPart *part)
{
	bool		may_wait = *(bool *) arg;
	ClockTime	since = seckill_clock();

	part->error = try_to_decide(&jobs[part->first], part->n, may_wait);
	part->transient = part->error != NULL &&
		is_own_timeout(part->error, may_wait, since);
}

/* Answer the purchase that fails alone; Bisection.fail. */
static void
fail_part(void *arg, const BatchPart *part)
{
	fail(&jobs[part->first], part->error);
}

/* Decide the first n of jobs; those that time out stay undecided. */
static void
decide_all(int n, bool may_wait)
{
	Bisection	bisection = {
		.attempt = decide_part,
		.fail = fail_part,
		.arg = &may_wait,
		.keep_whole = may_wait
	};

	seckill_bisect(&bisection, 0, n);
}


/*
 * The loop
 */

static bool
is_not_in(int64 item_id, const void *set)
{
	return !seckill_item_set_has(set, item_id);
}

static bool
is_item(int64 item_id, const void *id)
{
	return item_id == *(const int64 *) id;
}

/*
 * Decide the deferred purchases of one item, waiting for its row.  Returns how
 * many were decided.
 */
static int
decide_deferred(int64 item_id)
{
	ClockTime	start = seckill_clock();
	RingRange	range = seckill_ring_range();
	ItemSet		undecided = {.context = batch_context};
	int			n = seckill_ring_read(&range, jobs, max_jobs, is_item,
									  &item_id);
	int			decided;

	if (n > 0)
		decide_all(n, true);
	decided = n - seckill_item_set_add_undecided(&undecided, jobs, n);
	if (n > 0 && decided == 0)
		seckill_backoff_timed_out(&backoff, start);
	else
		seckill_backoff_reset(&backoff);
	last_item = item_id;
	return decided;
}

/* Show in pg_stat_activity that a batch of n purchases has begun. */
static void
report(int n)
{
	char		activity[64];

	SetCurrentStatementStartTimestamp();
	snprintf(activity, sizeof(activity), "deciding %d purchases", n);
	pgstat_report_activity(STATE_RUNNING, activity);
}

typedef enum Turn
{
	TURN_IDLE,					/* there was nothing to decide */
	TURN_STUCK,					/* all purchases were deferred */
	TURN_DONE					/* some were decided */
} Turn;

/*
 * Decide the purchases that have gathered, in batches.  A deferred purchase
 * delays only later purchases of the same item.  *seen is set to the end of
 * the purchases that were there.
 */
static Turn
take_turn(uint64 *seen)
{
	RingRange	range = seckill_ring_range();
	ItemSet		deferred = {.context = batch_context};
	int			found = 0;
	int			undecided = 0;
	int			n;

	*seen = range.end;
	while ((n = seckill_ring_read(&range, jobs, max_jobs, is_not_in,
								  &deferred)) > 0)
	{
		SECKILL_FAULT("batch read");
		report(n);
		decide_all(n, false);
		found += n;
		undecided += seckill_item_set_add_undecided(&deferred, jobs, n);
	}
	seckill_stat_count(SECKILL_STAT_DEFERRED, undecided);
	if (deferred.n > 0 && seckill_backoff_may_wait(&backoff))
		undecided -= decide_deferred(seckill_item_set_next(&deferred, last_item));
	MemoryContextReset(batch_context);
	if (found == 0)
		return TURN_IDLE;
	(void) pgstat_report_stat(false);
	return undecided < found ? TURN_DONE : TURN_STUCK;
}

/*
 * Sleep until there is a purchase; return false if there was none for
 * seckill.queue_idle_time.  While there is work, table statistics are reported
 * at most once a second, so the last ones are reported here.
 */
static bool
await_purchase(void)
{
	int			timeout_ms = seckill_queue_idle_time;

	pgstat_report_activity(STATE_IDLE, NULL);
	if (timeout_ms > REPORT_MS)
	{
		if (seckill_ring_sleep(REPORT_MS))
			return true;
		(void) pgstat_report_stat(true);
		timeout_ms -= REPORT_MS;
	}
	return seckill_ring_sleep(timeout_ms);
}

/* Allocate jobs for a batch of seckill.queue_batch purchases. */
static void
allocate_jobs(void)
{
	if (max_jobs == seckill_queue_batch)
		return;
	if (jobs != NULL)
		pfree(jobs);
	jobs = MemoryContextAlloc(TopMemoryContext,
							  seckill_queue_batch * sizeof(Purchase));
	max_jobs = seckill_queue_batch;
}

static void
serve_interrupts(void)
{
	seckill_process_interrupts();
	allocate_jobs();
}

void
seckill_queue_worker_main(Datum arg)
{
	pqsignal(SIGINT, handle_cancel);
	seckill_process_init();
	start(DatumGetObjectId(arg));

	batch_context = AllocSetContextCreate(TopMemoryContext, "seckill batch",
										  ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(batch_context);
	for (;;)
	{
		uint64		seen;

		serve_interrupts();
		switch (take_turn(&seen))
		{
			case TURN_DONE:
				break;
			case TURN_STUCK:
				seckill_ring_nap(seen, NAP_MS);
				break;
			case TURN_IDLE:
				if (!await_purchase())
					retire_if_idle();
				break;
		}
	}
}
