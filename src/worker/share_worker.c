/*
 * share_worker.c
 *		The share worker: gets units of split items from other nodes.
 *
 * The first caller that finds its share short asks the postmaster for the
 * worker of its database (shmem/share_state.c).  A turn is one ask: in a transaction
 * of its own it exchanges units of one item with home, or, on home, with the
 * other nodes, and what it finds out.  The steps are functions of
 * seckill_cluster.  The worker holds nothing between two asks, so it can be
 * terminated at any time; the postmaster starts it again.  It exits when
 * nobody has wanted units for a while.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "seckill.h"
#include "shmem/share_state.h"
#include "table/shares.h"
#include "worker/process.h"

PGDLLEXPORT void seckill_share_worker_main(Datum arg);

/* Timeout of lock waits of an ask, in ms. */
#define WAIT_MS			500

/* Time without an ask after which the worker ends. */
#define IDLE_TIME		USECS(10000)

/* Messages about failed asks per minute. */
#define MAX_MESSAGES	5

static MemoryContext ask_context = NULL;
static LogKind failures;

static void
on_exit_worker(int code, Datum arg)
{
	seckill_share_release();
}

/* Run one ask; ProcessTask. */
static void
run_ask(void *arg)
{
	ShareAsk   *ask = arg;

	SECKILL_FAULT("ask begun");
	ask->reach = seckill_shares_exchange(ask->item_id, ask->wanted, ask->smallest);
}

static void
serve(Oid items, ShareAsk *ask)
{
	ErrorData  *error;

	pgstat_report_activity(STATE_RUNNING, "exchanging units with other nodes");
	ask->reach = -1;
	error = seckill_process_try(run_ask, ask, WAIT_MS);
	ask->vague = error != NULL && seckill_process_is_transient(error);
	ask->failed = error != NULL && !ask->vague;
	if (error != NULL)
		ask->reach = -1;
	if (ask->failed && seckill_process_may_log(&failures, MAX_MESSAGES))
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("units of item " INT64_FORMAT " could not be exchanged with other nodes: %s",
						ask->item_id, seckill_process_message(error))));
	seckill_share_end_ask(items, ask);
	MemoryContextReset(ask_context);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Find the table of items; ProcessTask. */
static void
find_items(void *arg)
{
	*(Oid *) arg = seckill_catalog()->items;
}

/*
 * Serve all asks that are due; return the time until the next one.  Sets
 * *items to the table of items, or to InvalidOid if the extension was dropped.
 */
static int64
serve_all(Oid *items)
{
	ShareAsk	ask;
	int64		delay;
	ErrorData  *error;

	*items = InvalidOid;
	error = seckill_process_try(find_items, items, WAIT_MS);
	if (error != NULL && !seckill_process_is_transient(error))
		return SECKILL_NEVER;
	while (seckill_share_begin_ask(*items, &ask, &delay))
	{
		seckill_process_interrupts();
		serve(*items, &ask);
	}
	return delay;
}

void
seckill_share_worker_main(Datum arg)
{
	ClockTime	used;

	seckill_process_init();
	if (!seckill_share_claim(DatumGetObjectId(arg)))
		proc_exit(0);
	before_shmem_exit(on_exit_worker, (Datum) 0);
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid,
											  BGWORKER_BYPASS_ALLOWCONN);
	ask_context = AllocSetContextCreate(TopMemoryContext, "seckill ask",
										ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(ask_context);
	used = seckill_clock();
	for (;;)
	{
		Oid			items;
		int64		delay;

		seckill_process_interrupts();
		delay = serve_all(&items);
		if (delay != SECKILL_NEVER)
			used = seckill_clock();
		else if ((items == InvalidOid || seckill_clock() - used >= IDLE_TIME) &&
				 seckill_share_retire(items))
			proc_exit(0);
		seckill_process_sleep(Min(delay, IDLE_TIME));
	}
}
