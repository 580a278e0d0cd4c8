/*
 * maintenance.c
 *		The maintenance worker: work that is due at a time in one database.
 *
 * Its tasks are to put units on sale at the time of their release (release.c),
 * to expire orders that were not paid in time (expiry.c) and to give items
 * whose sale is about to open a first lease.
 *
 * Releases are done at their time, everything else within a few naps of it.  So
 * they come first in each turn, the worker starts ahead of them, and the other
 * tasks end, or at least wait no longer, when the next one is due.
 *
 * The launcher starts a maintenance worker when work is due.  The worker exits
 * when nothing is due soon, or when another session has locked the database to
 * drop, rename or copy it; the next worker waits for that lock.  In a database
 * without the extension it exits at once.  All its work can be repeated, so it
 * may be terminated at any moment: what it has not done stays due.
 *
 * The worker keeps no state but what due_work.c remembers; the schedule is in
 * shared memory (shmem/schedule.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/settings.h"
#include "sale/lease.h"
#include "seckill.h"
#include "shmem/schedule.h"
#include "table/item_search.h"
#include "table/open_moves.h"
#include "table/orders.h"
#include "table/releases.h"
#include "worker/due_work.h"
#include "worker/expiry.h"
#include "worker/process.h"
#include "worker/release.h"
#include "xact/lock.h"

PGDLLEXPORT void seckill_maintenance_main(Datum arg);

/* Maximum number of items prepared in one turn. */
#define OPENING_BATCH		1000

/* Timeout of lock waits. */
#define WAIT_MS			200

/* Stay if work is due within this time. */
#define LINGER_MS			2000

/* Interval between two looks at moves of items that have not ended. */
#define MOVES_NAP_MS		1000

/* Maximum number of logged failures a minute to end moves. */
#define LOG_MOVES			4

/* Limit in seconds of the time that connecting to another node takes. */
#define CONNECT_TIMEOUT		"2"

/* Maximum number of logged items a minute that cannot be prepared. */
#define LOG_OPENINGS		10

/* Memory of one turn. */
static MemoryContext turn_context = NULL;


/*
 * Return the microseconds until a time, which may be past; SECKILL_NEVER for
 * DT_NOEND.
 */
static int64
left_until(TimestampTz time)
{
	return time == DT_NOEND ? SECKILL_NEVER : time - GetCurrentTimestamp();
}


/*
 * Openings
 */

/* Items whose sale is about to open. */
typedef struct Openings
{
	TimestampTz now;
	int64	   *item_ids;
	int			n;
	TimestampTz next;			/* when the next one is to be prepared */
} Openings;

static void
read_openings(void *arg)
{
	Openings   *openings = arg;
	TimestampTz until = openings->now + USECS(seckill_open_ahead);

	openings->n = seckill_items_opening(openings->now, until,
										openings->item_ids, OPENING_BATCH);
	openings->next = seckill_items_next_opening(until);
	SECKILL_FAULT("openings read");
	if (openings->next != DT_NOEND)
		openings->next -= USECS(seckill_open_ahead);
}

/* The item to be prepared by prepare_task(). */
typedef struct Opening
{
	int64		item_id;
	bool		done;			/* false: its row is locked by others */
} Opening;

static void
prepare_task(void *arg)
{
	Opening    *opening = arg;

	opening->done = seckill_lease_prewarm_ahead(opening->item_id);
	SECKILL_FAULT("opening prepared");
}

/*
 * Log that an item could not be prepared, unless it was the last one logged.
 * Such an item sells from the row at first.
 */
static void
report_opening(int64 item_id, const ErrorData *error)
{
	static int64 reported = 0;
	static LogKind logged = {0};

	if (item_id != reported && seckill_process_may_log(&logged, LOG_OPENINGS))
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("item " INT64_FORMAT " could not be prepared for its opening: %s",
						item_id, seckill_process_message(error))));
	reported = item_id;
}

/*
 * Give items that are about to open a first lease, if calls that name no mode
 * sell from the cache.  Schedules the next opening, or a retry.  Stops after
 * one item if the next release is due: its turn is scheduled, and finds the
 * other items again.
 */
static void
prepare_openings(TimestampTz next_release)
{
	Openings	openings = {.now = GetCurrentTimestamp()};

	if (seckill_open_ahead == 0 ||
		(seckill_default_mode != SECKILL_MODE_AUTO &&
		 seckill_default_mode != SECKILL_MODE_CACHE))
		return;
	openings.item_ids = palloc(OPENING_BATCH * sizeof(int64));
	if (!seckill_process_run(read_openings, &openings, WAIT_MS))
	{
		seckill_schedule_look(USECS(SECKILL_MAINTENANCE_NAP));
		return;
	}
	seckill_schedule_put(openings.next);
	for (int i = 0; i < openings.n; i++)
	{
		Opening		opening = {.item_id = openings.item_ids[i]};
		ErrorData  *error = seckill_process_try(prepare_task, &opening,
												WAIT_MS);

		if (error != NULL && !seckill_process_is_transient(error))
			report_opening(opening.item_id, error);
		else if (!opening.done)
			seckill_schedule_look(USECS(SECKILL_MAINTENANCE_NAP));
		if (left_until(next_release) <= 0)
			break;
	}
}


/*
 * The worker
 */

/* Leave the schedule; after a failure the next worker retries the work. */
static void
on_exit_maintenance(int code, Datum arg)
{
	if (code != 0)
		seckill_schedule_failed();
	seckill_schedule_leave();
}

/*
 * Return what check() returns in a transaction of its own.  May raise.
 */
static bool
check_in_transaction(bool (*check) (void))
{
	bool		answer;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	answer = check();
	CommitTransactionCommand();
	MemoryContextSwitchTo(turn_context);
	return answer;
}

static bool
has_extension(void)
{
	return OidIsValid(get_extension_oid("seckill", true));
}

/* The next pending order that is due after a time. */
typedef struct NextOrder
{
	TimestampTz after;
	TimestampTz pay_by;
} NextOrder;

static void
read_next(void *arg)
{
	NextOrder  *next = arg;

	next->pay_by = seckill_orders_next_pay_by(next->after);
}

/*
 * Schedule the next turn: when the next pending order is due, and after delay
 * at the latest.  It is never sooner than one nap, so that the orders of a
 * sale gather into batches.
 */
static void
schedule_next(TimestampTz after, int64 delay)
{
	NextOrder	next = {.after = after,.pay_by = 0};

	(void) seckill_process_run(read_next, &next, WAIT_MS);
	if (next.pay_by > GetCurrentTimestamp() + USECS(SECKILL_MAINTENANCE_NAP))
		seckill_schedule_put(next.pay_by);
	else
		delay = USECS(SECKILL_MAINTENANCE_NAP);
	seckill_schedule_look(Max(delay, USECS(SECKILL_MAINTENANCE_NAP)));
}

/* The next release that is due after a time. */
typedef struct NextRelease
{
	TimestampTz after;
	TimestampTz release_at;		/* DT_NOEND: none */
} NextRelease;

static void
read_next_release(void *arg)
{
	NextRelease *next = arg;

	next->release_at = seckill_releases_next(next->after);
}

/*
 * Schedule a turn for the next release that is due after now, or for some time
 * ahead of it.  Returns when it is due; DT_NOEND: there is none.
 */
static TimestampTz
schedule_release(TimestampTz now)
{
	NextRelease next = {.after = now,.release_at = DT_NOEND};

	if (!seckill_process_run(read_next_release, &next, WAIT_MS))
		seckill_schedule_look(USECS(SECKILL_MAINTENANCE_NAP));
	if (next.release_at == DT_NOEND)
		return DT_NOEND;
	if (next.release_at - now > SECKILL_START_AHEAD)
		seckill_schedule_put(next.release_at - SECKILL_START_AHEAD);
	else
		seckill_schedule_put(next.release_at);
	return next.release_at;
}

/*
 * Do the work that is due, releases first, and let none of it wait beyond the
 * next release.  Returns the microseconds until the next turn, 0 if there may
 * be more, or SECKILL_NEVER.
 */
static int64
do_due_work(TimestampTz now, TimestampTz next_release)
{
	int64		release = seckill_release_run(now, left_until(next_release));
	int64		expiry = seckill_expiry_run(now, left_until(next_release));

	return Min(release, expiry);
}

/* Have the extension seckill_cluster end the moves whose driver is gone. */
static void
tend_moves(void *arg)
{
	*(int *) arg = seckill_moves_tend();
}

static void
reopen(void *arg)
{
	*(bool *) arg = seckill_node_reopen();
}

/* Open a node that was promoted, if seckill.lossless says so. */
static void
open_node(void)
{
	static LogKind logged = {0};
	bool		opened = false;
	ErrorData  *error = seckill_process_try(reopen, &opened, WAIT_MS);

	if (opened && error == NULL)
		ereport(LOG,
				(errmsg("the node was promoted, and sells again, as seckill.lossless is on")));
	if (error == NULL)
		return;
	if (!seckill_process_is_transient(error) &&
		seckill_process_may_log(&logged, LOG_MOVES))
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("the node could not be opened after its promotion: %s",
						seckill_process_message(error))));
	seckill_schedule_look(USECS(MOVES_NAP_MS));
}

/* End moves of items that nobody drives, and schedule the next look at them. */
static void
end_moves(void)
{
	static LogKind logged = {0};
	int			open = 0;
	ErrorData  *error = seckill_process_try(tend_moves, &open, WAIT_MS);

	if (error != NULL && !seckill_process_is_transient(error) &&
		seckill_process_may_log(&logged, LOG_MOVES))
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("moves of items could not be ended: %s",
						seckill_process_message(error))));
	if (error != NULL || open > 0)
		seckill_schedule_look(USECS(MOVES_NAP_MS));
}

/*
 * Do what is due, and schedule the next turn: at once if a batch was full.
 */
static void
take_turn(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next_release;
	int64		delay;

	seckill_schedule_take();
	SECKILL_FAULT("maintenance turn begun");
	open_node();
	next_release = schedule_release(now);
	delay = do_due_work(now, next_release);
	if (delay > 0)
		schedule_next(now, delay);
	else
		seckill_schedule_look(0);
	seckill_schedule_worked();
	prepare_openings(next_release);
	end_moves();
	SECKILL_FAULT("maintenance turn done");
	MemoryContextReset(turn_context);
	(void) pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

void
seckill_maintenance_main(Datum arg)
{
	seckill_process_init();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg),
											  InvalidOid, 0);
	if (!seckill_schedule_attend())
		proc_exit(0);
	before_shmem_exit(on_exit_maintenance, (Datum) 0);
	(void) setenv("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT, 0);
	/* no client waits for the commit, and row locks are held for less time */
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_OVERRIDE);
	turn_context = AllocSetContextCreate(TopMemoryContext, "seckill maintenance worker",
										 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(turn_context);
	for (;;)
	{
		seckill_process_interrupts();
		if (!check_in_transaction(has_extension))
			proc_exit(0);		/* not created, or dropped */
		take_turn();
		if (check_in_transaction(seckill_lock_database_is_taken) ||
			(seckill_schedule_delay() > USECS(LINGER_MS) &&
			 !seckill_expiry_has_deferred() && !seckill_release_has_deferred()))
			proc_exit(0);
		seckill_process_sleep(Min(seckill_schedule_delay(), USECS(LINGER_MS)));
	}
}
