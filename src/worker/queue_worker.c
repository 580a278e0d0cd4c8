/*
 * worker.c
 *		The background worker that decides the purchases of the queue.
 *
 * One per database that uses the queue.  The first caller who needs it asks
 * the postmaster for it.  It ends when it has been idle for
 * seckill.queue_idle_time, so it stands in nobody's way: DROP DATABASE waits
 * for that long, and WITH (FORCE) does not.  When it is terminated, the
 * postmaster starts it again, and the new one goes on where the old one was.
 * A worker that finds no queue of its database, or one with a worker, ends:
 * the database was dropped, or the server has restarted after a crash.
 *
 * A turn of its loop: read what has gathered, decide it in one transaction,
 * publish in the commit callback.  In such a batch nobody is waited for; what
 * would have to wait is put off, and tried again in the next turn.  To get a
 * place in line where others contend, the worker also waits for one of the
 * items put off, in a transaction of its own: for a while only, as purchases
 * of others are gathering, and if in vain, not again for a longer while.
 *
 * On an error the transaction is rolled back and the purchases are decided in
 * halves, down to the one with the error, which alone gets it.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "commands/async.h"
#include "lib/qunique.h"
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
#include "base/settings.h"
#include "sale/decide.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/ring.h"
#include "shmem/ring_worker.h"
#include "shmem/stat.h"
#include "table/plan.h"
#include "worker/process.h"
#include "worker/queue_worker.h"
#include "xact/standby.h"

PGDLLEXPORT void seckill_queue_worker_main(Datum arg);

/*
 * How long to wait for the row of one item, at first and at most.  In a batch
 * that waits for no row: for whatever else may be locked, such as what a
 * trigger on the orders needs.
 */
#define WAIT_MS			50
#define MAX_WAIT_MS		200

/* A wait in vain is followed by so many times its length without one. */
#define WAIT_SPACING		20

/* How often to look again when all that there is has been put off. */
#define NAP_MS				10

/* So long after its last batch the idle worker reports the rest of its counts. */
#define REPORT_MS			1000

/* Failed starts in a row after which a worker waits before it tries again. */
#define FREE_STARTS			3

/* What the current transaction decides, for the commit callback. */
static Purchase *batch = NULL;
static int	nbatch = 0;
static Oid	batch_items = InvalidOid;	/* OID of seckill.items */

static Purchase *jobs = NULL;
static int	max_jobs = 0;
static MemoryContext batch_context = NULL;

/* Was the worker told to cancel since the batch was begun? */
static volatile sig_atomic_t cancelled = false;

/* The item put off that was waited for last, and when to wait again. */
static int64 last_item = 0;
static int	wait_ms = WAIT_MS;
static ClockTime next_wait = 0;


/*
 * Starting and ending
 */

/* An exit other than by retiring makes the postmaster start a new worker. */
static void
on_exit_worker(int code, Datum arg)
{
	if (code != 0)
		seckill_ring_release(true);
}

/* Hold the queue and connect, not too often if that fails. */
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
						 1000, seckill_queue_worker_wait_event());
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

/* A cancel may end the wait for a synchronous standby: take note. */
static void
handle_cancel(SIGNAL_ARGS)
{
	cancelled = true;
	StatementCancelHandler(postgres_signal_arg);
}

/*
 * Has the commit been confirmed by the synchronous standbys, if there are to be
 * any?  The wait for them ends early without an error if we are cancelled or
 * terminated, or the postmaster dies.  A session then tells its client nothing,
 * or warns; our buyers are in sessions of their own.
 */
static bool
is_confirmed(void)
{
	return !(cancelled || ProcDiePending) || !seckill_standby_is_awaited();
}

/* Count what the batch has decided, before anybody can know. */
static void
count_batch(void)
{
	int			decided = 0;
	int			reused = 0;		/* an error for who asks */

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

/* Called in the commit callback of every transaction. */
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

/* Tell those who listen of the last ticket decided, if any is. */
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
	snprintf(payload, sizeof(payload), UINT64_FORMAT, list[n - 1].ticket);
	Async_Notify("seckill_queue", payload);
}

static const BuyerCallbacks buyers_of_queue = {
	.take = seckill_ring_take,
	.put_back = seckill_ring_put_back
};

/* Is a purchase of the same item, read before the list, undecided? */
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
 * Decide a part of what has been read, in one transaction; may raise, with
 * nothing published.  A purchase waits for those of its item before it.
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
	seckill_process_begin(may_wait ? wait_ms : WAIT_MS);
	ForceSyncCommit();			/* answers are given when it has committed */
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
 * Roll back after an error; the purchases are undecided again, and their
 * buyers can leave.
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
		list[i].entry = NULL;
		list[i].duplicate_of = NULL;
		seckill_ring_put_back(&list[i]);
	}
	return error;
}

/* The same, returning the error that it raised, or NULL. */
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

/* Hand the error to the buyer, if he is still there. */
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
 * Is it the end of our own wait_ms?  That is no failure.  A trigger that
 * would not wait for a lock raises the same, but sooner.
 */
static bool
is_own_timeout(const ErrorData *error, bool may_wait, ClockTime since)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE &&
		seckill_clock() - since >= USECS(may_wait ? wait_ms : WAIT_MS);
}

/*
 * Decide purchases; if that fails, one half and then the other, until the one
 * that fails is alone.
 */
static void
decide_all(Purchase *list, int n, bool may_wait)
{
	ClockTime	since = seckill_clock();
	ErrorData  *error = try_to_decide(list, n, may_wait);
	bool		deferred;

	if (error == NULL)
		return;
	deferred = is_own_timeout(error, may_wait, since);
	if (deferred && (may_wait || n == 1))
		return;
	if (n == 1)
		fail(list, error);
	else
	{
		decide_all(list, n / 2, may_wait);
		decide_all(list + n / 2, n - n / 2, may_wait);
	}
}


/*
 * The loop
 */

/* Items, ascending. */
typedef struct ItemSet
{
	int64	   *ids;
	int			n;
} ItemSet;

static int
compare_ids(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

static bool
is_in(int64 item_id, const ItemSet *set)
{
	return set->n > 0 &&
		bsearch(&item_id, set->ids, set->n, sizeof(int64), compare_ids) != NULL;
}

static bool
is_not_in(int64 item_id, const void *set)
{
	return !is_in(item_id, (const ItemSet *) set);
}

static bool
is_item(int64 item_id, const void *id)
{
	return item_id == *(const int64 *) id;
}

/* Make room for n more items. */
static void
make_room_in(ItemSet *set, int n)
{
	Size		size = (Size) (set->n + n) * sizeof(int64);

	set->ids = set->ids == NULL ?
		MemoryContextAllocHuge(batch_context, size) :
		repalloc_huge(set->ids, size);
}

/* Add the items of the undecided ones; returns how many of these there are. */
static int
add_undecided(ItemSet *set, const Purchase *list, int n)
{
	int			undecided = 0;

	for (int i = 0; i < n; i++)
		undecided += list[i].outcome == SECKILL_QUEUED;
	if (undecided == 0)
		return 0;
	make_room_in(set, undecided);
	for (int i = 0; i < n; i++)
		if (list[i].outcome == SECKILL_QUEUED)
			set->ids[set->n++] = list[i].item_id;
	qsort(set->ids, set->n, sizeof(int64), compare_ids);
	set->n = (int) qunique(set->ids, set->n, sizeof(int64), compare_ids);
	return undecided;
}

/* The item next to last_item, in a circle. */
static int64
next_item(const ItemSet *set)
{
	for (int i = 0; i < set->n; i++)
		if (set->ids[i] > last_item)
			return set->ids[i];
	return set->ids[0];
}

/*
 * Decide the purchases of one item that were put off, with wait_ms, which
 * grows while it is in vain; then the next such wait is not soon.  Returns how
 * many are decided.
 */
static int
decide_waiting_for(int64 item_id)
{
	ClockTime	start = seckill_clock();
	RingRange	range = seckill_ring_range();
	ItemSet		undecided = {NULL, 0};
	int			n = seckill_ring_read(&range, jobs, max_jobs, is_item,
									  &item_id);
	int			decided;

	if (n > 0)
		decide_all(jobs, n, true);
	decided = n - add_undecided(&undecided, jobs, n);
	if (n > 0 && decided == 0)
	{
		ClockTime	now = seckill_clock();

		wait_ms = Min(2 * wait_ms, MAX_WAIT_MS);
		next_wait = now + WAIT_SPACING * (now - start);
	}
	else
	{
		wait_ms = WAIT_MS;
		next_wait = 0;
	}
	last_item = item_id;
	return decided;
}

/* Show what is done, since now. */
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
	TURN_STUCK,					/* all that there was had to be put off */
	TURN_DONE
} Turn;

/*
 * Decide what has gathered, in batches.  What is put off keeps nobody behind it
 * waiting but those who want the same item.  *seen is set to the end of what
 * was there.
 */
static Turn
take_turn(uint64 *seen)
{
	RingRange	range = seckill_ring_range();
	ItemSet		deferred = {NULL, 0};
	int			found = 0;
	int			undecided = 0;
	int			n;

	*seen = range.end;
	while ((n = seckill_ring_read(&range, jobs, max_jobs, is_not_in,
								  &deferred)) > 0)
	{
		SECKILL_FAULT("batch read");
		report(n);
		decide_all(jobs, n, false);
		found += n;
		undecided += add_undecided(&deferred, jobs, n);
	}
	seckill_stat_count(SECKILL_STAT_DEFERRED, undecided);
	if (deferred.n > 0 && seckill_clock() >= next_wait)
		undecided -= decide_waiting_for(next_item(&deferred));
	MemoryContextReset(batch_context);
	if (found == 0)
		return TURN_IDLE;
	(void) pgstat_report_stat(false);
	return undecided < found ? TURN_DONE : TURN_STUCK;
}

/*
 * Sleep until there is a purchase; false if there was none for so long as is
 * set.  Counts of tables are reported once a second at most while there is
 * work, so the last ones may be left.
 */
static bool
rest(void)
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

/* Room for a batch, of the size that is set now. */
static void
make_room(void)
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
	make_room();
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
				if (!rest())
					retire_if_idle();
				break;
		}
	}
}
