/*
 * launcher.c
 *		The process that starts a keeper in a database when something is due.
 *
 * One per server, started with it, and restarted.  It sleeps until something
 * is due in some database (schedule.c), and starts a keeper there (keeper.c).
 * Besides it has every database looked at when the server starts and once in
 * seckill.naptime: so a restart, a promotion or a restore forget nothing, nor
 * does an order that came by COPY or COMMIT PREPARED.
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

/* A keeper that could not be started is not sooner. */
#define RESTART_MS			1000

/* Databases are looked at one after the other, so many milliseconds apart. */
#define VISIT_SPACING_MS	20

typedef struct Maintenance
{
	Oid			dbid;
	BackgroundWorkerHandle *handle; /* NULL: is not running */
} Maintenance;

/* The last keeper of the database in each slot, as far as they are in use. */
static Maintenance *workers = NULL;
static int	nworkers = 0;

/* Have the postmaster start the launcher with the server. */
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

/* The keeper is known to have ended, or is no concern of ours any more. */
static void
forget(Maintenance *keeper)
{
	if (keeper->handle != NULL)
		pfree(keeper->handle);
	keeper->handle = NULL;
}

/* The keeper of slot i; one of a database that had it before is forgotten. */
static Maintenance *
get_worker(int i, Oid dbid)
{
	if (i >= nworkers)
	{
		workers = workers == NULL ?
			MemoryContextAlloc(TopMemoryContext, (i + 1) * sizeof(Maintenance)) :
			repalloc(workers, (i + 1) * sizeof(Maintenance));
		memset(&workers[nworkers], 0, (i + 1 - nworkers) * sizeof(Maintenance));
		nworkers = i + 1;
	}
	if (workers[i].dbid != dbid)
		forget(&workers[i]);
	workers[i].dbid = dbid;
	return &workers[i];
}

static bool
is_running(Maintenance *keeper)
{
	pid_t		pid;

	if (keeper->handle == NULL)
		return false;
	if (GetBackgroundWorkerPid(keeper->handle, &pid) != BGWH_STOPPED)
		return true;
	forget(keeper);
	return false;
}

/* Start a keeper; false if all places for background workers are taken. */
static bool
start_worker(Maintenance *keeper)
{
	BackgroundWorker worker;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool		started;
	static LogKind logged = {0};

	seckill_process_describe(&worker, "seckill maintenance worker", "seckill_maintenance_main");
	worker.bgw_main_arg = ObjectIdGetDatum(keeper->dbid);
	worker.bgw_notify_pid = MyProcPid;
	started = RegisterDynamicBackgroundWorker(&worker, &keeper->handle);
	MemoryContextSwitchTo(old);
	if (!started && seckill_process_may_log(&logged, 1))
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no background worker is left to expire orders in database %u",
						keeper->dbid),
				 errhint("Raise max_worker_processes.")));
	return started;
}

/*
 * Start the keeper that is due by slot i; returns after how long to look again.
 * What is due is taken first: it is the keeper's from then on.
 */
static int64
serve(int i, Maintenance *keeper)
{
	seckill_schedule_handled(i);
	if (start_worker(keeper))
		return SECKILL_NEVER;
	seckill_schedule_visit(keeper->dbid, USECS(RESTART_MS));
	return USECS(RESTART_MS);
}

/* Start the workers that are due; returns after how long to look again. */
static int64
start_workers(void)
{
	int64		next = SECKILL_NEVER;
	int64		delay;
	Oid			dbid;

	for (int i = 0; seckill_schedule_read(i, &dbid, &delay); i++)
	{
		Maintenance *keeper;

		if (!OidIsValid(dbid) || delay == SECKILL_NEVER)
			continue;
		keeper = get_worker(i, dbid);
		if (is_running(keeper))
			continue;			/* we are told when it ends */
		if (delay == 0)
			delay = serve(i, keeper);
		next = Min(next, delay);
	}
	return next;
}

/* Databases that one can connect to, and that are not there to be copied. */
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

/* Have every database looked at. */
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
		SECKILL_FAULT("launcher's turn has come");
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
