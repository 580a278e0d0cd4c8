/*
 * keeper.c
 *		The process for what is due at a time in a database: orders that were
 *		not paid expire (expiry.c), and items whose sale is about to open get a
 *		first lease.
 *
 * The launcher starts a keeper when something is due.  It works until nothing
 * is due soon, then ends, also if somebody has the database locked, so it
 * stands in nobody's way: the next one waits for that lock.  One whose database
 * has no extension ends at once.  What a keeper does can be done again: it may
 * end at any moment.
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
#include "table/items.h"
#include "table/orders.h"
#include "worker/expiry.h"
#include "worker/process.h"
#include "xact/lock.h"

PGDLLEXPORT void seckill_maintenance_main(Datum arg);

/* Items that are prepared in one turn at most. */
#define OPENING_BATCH		1000

/* How long to wait for a lock. */
#define WAIT_MS			200

/* A keeper stays if something is due so soon, or was put off. */
#define LINGER_MS			2000

/* So many items are named a minute that cannot be prepared. */
#define LOG_OPENINGS		10

/* What a turn allocates. */
static MemoryContext turn_context = NULL;


/*
 * Openings
 */

/* Items whose sale is about to open. */
typedef struct Openings
{
	TimestampTz now;
	int64	   *item_ids;
	int			n;
	TimestampTz next;			/* when the next one is due */
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

/* One of them. */
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

/* One that cannot be prepared sells from the row at first: say so, if it is new. */
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
 * Give items that are about to open a first lease, where calls that do not
 * name a mode sell from the cache.  Notes when to look again.
 */
static void
prepare_openings(void)
{
	Openings	openings = {.now = GetCurrentTimestamp()};

	if (seckill_open_ahead == 0 ||
		(seckill_default_mode != SECKILL_MODE_AUTO &&
		 seckill_default_mode != SECKILL_MODE_CACHE))
		return;
	openings.item_ids = palloc(OPENING_BATCH * sizeof(int64));
	if (!seckill_process_run_soon(read_openings, &openings, WAIT_MS))
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

		if (error != NULL && !seckill_process_is_passing(error))
			report_opening(opening.item_id, error);
		else if (!opening.done)
			seckill_schedule_look(USECS(SECKILL_MAINTENANCE_NAP));
	}
}


/*
 * The keeper
 */

/* Whatever was not done is for the next keeper. */
static void
on_exit_maintenance(int code, Datum arg)
{
	if (code != 0)
		seckill_schedule_failed();
	seckill_schedule_leave();
}

static bool
has_extension(void)
{
	bool		found;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	found = OidIsValid(get_extension_oid("seckill", true));
	CommitTransactionCommand();
	MemoryContextSwitchTo(turn_context);
	return found;
}

/* When the next of the pending orders is due. */
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
 * Note when the next pending order is due, or to look again after delay at most,
 * but not at once, so that a sale makes batches of some size.
 */
static void
note_next(TimestampTz after, int64 delay)
{
	NextOrder	next = {.after = after,.pay_by = 0};

	(void) seckill_process_run_soon(read_next, &next, WAIT_MS);
	if (next.pay_by > GetCurrentTimestamp() + USECS(SECKILL_MAINTENANCE_NAP))
		seckill_schedule_put(next.pay_by);
	else
		delay = USECS(SECKILL_MAINTENANCE_NAP);
	seckill_schedule_look(Max(delay, USECS(SECKILL_MAINTENANCE_NAP)));
}

/* Do what is due, and note when there is more to do: now if a batch was full. */
static void
take_turn(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		delay;

	seckill_schedule_take();
	SECKILL_FAULT("keeper's turn has come");
	delay = seckill_expiry_run(now);
	if (delay > 0)
		note_next(now, delay);
	else
		seckill_schedule_look(0);
	seckill_schedule_worked();
	prepare_openings();
	SECKILL_FAULT("keeper has done its work");
	MemoryContextReset(turn_context);
	(void) pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Is somebody about to drop, rename or copy the database?  He has it locked. */
static bool
is_in_the_way(void)
{
	bool		locked;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	locked = seckill_lock_database_is_taken();
	CommitTransactionCommand();
	MemoryContextSwitchTo(turn_context);
	return locked;
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
	/* nobody waits for an answer, and rows are locked for a shorter time */
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_OVERRIDE);
	turn_context = AllocSetContextCreate(TopMemoryContext, "seckill maintenance worker",
										 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(turn_context);
	for (;;)
	{
		seckill_process_interrupts();
		if (!has_extension())
			proc_exit(0);		/* it was dropped */
		take_turn();
		if (is_in_the_way() ||
			(seckill_schedule_delay() > USECS(LINGER_MS) &&
			 !seckill_expiry_remembers()))
			proc_exit(0);
		seckill_process_sleep(Min(seckill_schedule_delay(), USECS(LINGER_MS)));
	}
}
