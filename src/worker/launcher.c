/*
 * launcher.c
 *		The process that starts maintenance workers in databases with due work.
 *
 * The postmaster starts one launcher per server, and restarts it when it dies.
 * The launcher sleeps until work is due in some database, as shmem/schedule.c
 * records, and starts a maintenance worker there (see maintenance.c).  When
 * the server starts, and then every seckill.naptime seconds, it schedules a
 * visit to every database.  This finds work that was not recorded: after a
 * restart, a promotion or a restore, and for orders written by COPY or COMMIT
 * PREPARED.
 *
 * The schedule is in shared memory; the handles of the maintenance workers are
 * in the launcher's own memory and are lost when it dies.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"

#include "base/bgworker.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/settings.h"
#include "shmem/schedule.h"
#include "worker/launcher.h"
#include "worker/process.h"

PGDLLEXPORT void seckill_launcher_main(Datum arg);

/* Retry a failed launch after this delay. */
#define RESTART_MS			1000

/* Interval between the visits that one round schedules. */
#define VISIT_SPACING_MS	20

typedef struct MaintenanceWorker
{
	Oid			dbid;
	BackgroundWorkerHandle *handle; /* NULL: not running */
} MaintenanceWorker;

/* The last maintenance worker of each slot of the schedule. */
static MaintenanceWorker *workers = NULL;
static int	nworkers = 0;

/* Register the launcher with the postmaster, at server start. */
void
seckill_launcher_init(void)
{
	BackgroundWorker worker;

	if (IsBinaryUpgrade)
		return;
	seckill_process_describe(&worker, "seckill launcher", "seckill_launcher_main");
	worker.bgw_restart_time = 1;
	RegisterBackgroundWorker(&worker);
}

/* Release the handle of a worker that has ended or whose slot was reused. */
static void
forget(MaintenanceWorker *worker)
{
	if (worker->handle != NULL)
		pfree(worker->handle);
	worker->handle = NULL;
}

/*
 * Return the worker of slot i, which belongs to the given database.  The
 * handle of the worker of another database that had the slot before is
 * released.
 */
static MaintenanceWorker *
get_worker(int i, Oid dbid)
{
	if (i >= nworkers)
	{
		workers = workers == NULL ?
			MemoryContextAlloc(TopMemoryContext, (i + 1) * sizeof(MaintenanceWorker)) :
			repalloc(workers, (i + 1) * sizeof(MaintenanceWorker));
		memset(&workers[nworkers], 0, (i + 1 - nworkers) * sizeof(MaintenanceWorker));
		nworkers = i + 1;
	}
	if (workers[i].dbid != dbid)
		forget(&workers[i]);
	workers[i].dbid = dbid;
	return &workers[i];
}

static bool
is_running(MaintenanceWorker *worker)
{
	pid_t		pid;

	if (worker->handle == NULL)
		return false;
	if (GetBackgroundWorkerPid(worker->handle, &pid) != BGWH_STOPPED)
		return true;
	forget(worker);
	return false;
}

/* Start a worker; return false if no background worker slot is free. */
static bool
start_worker(MaintenanceWorker *worker)
{
	BackgroundWorker request;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool		started;
	static LogKind logged = {0};

	seckill_process_describe(&request, "seckill maintenance worker", "seckill_maintenance_main");
	request.bgw_main_arg = ObjectIdGetDatum(worker->dbid);
	request.bgw_notify_pid = MyProcPid;
	started = RegisterDynamicBackgroundWorker(&request, &worker->handle);
	MemoryContextSwitchTo(old);
	if (!started && seckill_process_may_log(&logged, 1))
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no background worker is left to expire orders in database %u",
						worker->dbid),
				 errhint("Raise max_worker_processes.")));
	return started;
}

/*
 * Start the worker of slot i, whose work is due.  Returns the delay until the
 * next check of the slot.  The due times are cleared before the start: work
 * that is recorded later is due again.
 */
static int64
serve(int i, MaintenanceWorker *worker)
{
	seckill_schedule_handled(i);
	if (start_worker(worker))
		return SECKILL_NEVER;
	seckill_schedule_visit(worker->dbid, USECS(RESTART_MS));
	return USECS(RESTART_MS);
}

/* Start the workers that are due; return the delay until the next check. */
static int64
start_workers(void)
{
	int64		next = SECKILL_NEVER;
	int64		delay;
	Oid			dbid;

	for (int i = 0; seckill_schedule_read(i, &dbid, &delay); i++)
	{
		MaintenanceWorker *worker;

		if (!OidIsValid(dbid) || delay == SECKILL_NEVER)
			continue;
		worker = get_worker(i, dbid);
		if (is_running(worker))
			continue;			/* its end sets our latch */
		if (delay == 0)
			delay = serve(i, worker);
		next = Min(next, delay);
	}
	return next;
}

/* List the databases that accept connections and are no templates. */
static List *
list_databases(void)
{
	List	   *list = NIL;
	Relation	databases = table_open(DatabaseRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(databases, 0, NULL);
	HeapTuple	tuple;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database->datallowconn && !database->datistemplate &&
			database->datconnlimit >= -1)
			list = lappend_oid(list, database->oid);
	}
	table_endscan(scan);
	table_close(databases, AccessShareLock);
	return list;
}

/* Schedule a visit to every database. */
static void
visit_databases(void)
{
	int64		delay = 0;
	ListCell   *cell;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	foreach(cell, list_databases())
	{
		seckill_schedule_visit(lfirst_oid(cell), delay);
		delay += USECS(VISIT_SPACING_MS);
	}
	CommitTransactionCommand();
}

void
seckill_launcher_main(Datum arg)
{
	ClockTime	last_round = 0;
	bool		started = false;

	seckill_process_init();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	seckill_schedule_launcher();
	for (;;)
	{
		ClockTime	now;
		int64		nap;

		seckill_process_interrupts();
		SECKILL_FAULT("launcher turn begun");
		now = seckill_clock();
		nap = (int64) seckill_naptime * USECS_PER_SEC;
		if (!started || now >= last_round + nap)
		{
			visit_databases();
			last_round = now;
			started = true;
		}
		seckill_process_sleep(Min(start_workers(), last_round + nap - now));
	}
}
