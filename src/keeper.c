/*
 * keeper.c
 *		Background processes for what is due at a time: orders that were not
 *		paid expire, and sales that are about to open get a first lease.
 *
 * One launcher per server, started with it, and restarted.  It sleeps until
 * something is due in a database (schedule.c), and starts a keeper there.
 * Besides it has every database looked at when the server starts and once in
 * seckill.naptime: so a restart, a promotion or a restore forget nothing, nor
 * does an order that came by COPY or COMMIT PREPARED.
 *
 * A keeper works until nothing is due soon, then ends, also if somebody has
 * the database locked, so it stands in nobody's way: the next one waits for
 * that lock.  The launcher knows when to start it.  One whose database
 * has no extension ends at once.  What a keeper does can be done again: it may
 * end at any moment.
 *
 * Overdue orders are expired in batches, one transaction each, on the item
 * rows that nobody has locked.  For one of the locked ones the keeper then
 * waits a while, in the item's line, holding nothing else.  On an error the
 * batch is tried in halves; an order that fails alone is put off, and an item
 * of which several do.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "seckill.h"

PGDLLEXPORT void seckill_launcher_main(Datum arg);
PGDLLEXPORT void seckill_keeper_main(Datum arg);

/* Orders in one transaction at most. */
#define EXPIRY_BATCH		1000

/* Items that are prepared in one turn at most. */
#define OPENING_BATCH		1000

/*
 * How long to wait for the row of one item, at first and at most.  A line of
 * buyers may be longer than the first.
 */
#define PATIENCE_MS			200
#define MAX_PATIENCE_MS		1600

/* A wait in vain is followed by so many times its length without one. */
#define WAIT_SPACING		4

/* How often to look, unless there is more than a batch. */
#define NAP_MS				100

/* A keeper stays if something is due so soon. */
#define LINGER_MS			2000

/*
 * How long an order that cannot be expired is put off, and how many such; from
 * how many such orders of an item on all are.
 */
#define PUT_OFF_MS			60000
#define PUT_OFF				64
#define PUT_OFF_ITEM		4

/* Items that are passed over in one turn at most. */
#define PASSED				1000

/* A keeper that has failed, or could not be started, is not sooner. */
#define RESTART_MS			1000

/* Databases are looked at one after the other, so many milliseconds apart. */
#define VISIT_SPACING_MS	20

#define MS(ms)	((int64) (ms) * 1000)


/*
 * The launcher
 */

typedef struct Keeper
{
	Oid			dbid;
	BackgroundWorkerHandle *handle;
} Keeper;

/* The last keeper of each database that has had one. */
static Keeper *keepers = NULL;
static int	nkeepers = 0;

static void
set_worker(BackgroundWorker *worker, const char *type, const char *function)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, "seckill",
			sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function,
			sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_name, type, sizeof(worker->bgw_name));
	strlcpy(worker->bgw_type, type, sizeof(worker->bgw_type));
}

/* Have the postmaster start the launcher with the server. */
void
seckill_keeper_init(void)
{
	BackgroundWorker worker;

	if (IsBinaryUpgrade)
		return;
	set_worker(&worker, "seckill launcher", "seckill_launcher_main");
	worker.bgw_restart_time = 1;
	RegisterBackgroundWorker(&worker);
}

static Keeper *
get_keeper(Oid dbid)
{
	Keeper	   *keeper;

	for (int i = 0; i < nkeepers; i++)
		if (keepers[i].dbid == dbid)
			return &keepers[i];
	keepers = keepers == NULL ?
		MemoryContextAlloc(TopMemoryContext, sizeof(Keeper)) :
		repalloc(keepers, (nkeepers + 1) * sizeof(Keeper));
	keeper = &keepers[nkeepers++];
	keeper->dbid = dbid;
	keeper->handle = NULL;
	return keeper;
}

static bool
is_running(Keeper *keeper)
{
	pid_t		pid;

	if (keeper->handle == NULL)
		return false;
	if (GetBackgroundWorkerPid(keeper->handle, &pid) != BGWH_STOPPED)
		return true;
	pfree(keeper->handle);
	keeper->handle = NULL;
	return false;
}

/* Start a keeper; false if all places for background workers are taken. */
static bool
start_keeper(Keeper *keeper)
{
	BackgroundWorker worker;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool		started;

	set_worker(&worker, "seckill keeper", "seckill_keeper_main");
	worker.bgw_main_arg = ObjectIdGetDatum(keeper->dbid);
	worker.bgw_notify_pid = MyProcPid;
	started = RegisterDynamicBackgroundWorker(&worker, &keeper->handle);
	MemoryContextSwitchTo(old);
	if (!started)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no background worker is left to expire orders in database %u",
						keeper->dbid),
				 errhint("Raise max_worker_processes.")));
	return started;
}

/*
 * Start the keeper that is due by slot i; returns when to look again.  What is
 * due is taken first: it is the keeper's from then on.
 */
static TimestampTz
serve(int i, Keeper *keeper, TimestampTz now)
{
	TimestampTz again = now + MS(RESTART_MS);

	seckill_schedule_handled(i);
	if (start_keeper(keeper))
		return DT_NOEND;
	seckill_schedule_visit(keeper->dbid, again);
	return again;
}

/* Start the keepers that are due; returns when to look again. */
static TimestampTz
start_keepers(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = DT_NOEND;
	TimestampTz due;
	Oid			dbid;

	for (int i = 0; seckill_schedule_read(i, &dbid, &due); i++)
	{
		Keeper	   *keeper;

		if (!OidIsValid(dbid) || due == DT_NOEND)
			continue;
		keeper = get_keeper(dbid);
		if (is_running(keeper))
			continue;			/* we are told when it ends */
		if (due <= now)
			due = serve(i, keeper, now);
		next = Min(next, due);
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
	TimestampTz time = GetCurrentTimestamp();
	ListCell   *cell;

	StartTransactionCommand();
	foreach(cell, list_databases())
	{
		seckill_schedule_visit(lfirst_oid(cell), time);
		time += MS(VISIT_SPACING_MS);
	}
	CommitTransactionCommand();
}

static uint32
wait_event(void)
{
	static uint32 event = 0;

	return SeckillWaitEvent(&event, "SeckillKeeper");
}

/* Sleep until a time, or until woken. */
static void
sleep_until(TimestampTz time)
{
	long		ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
													 time);

	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Min(ms, INT_MAX), wait_event());
	ResetLatch(MyLatch);
}

void
seckill_launcher_main(Datum arg)
{
	TimestampTz last_round = 0;

	seckill_process_signals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	seckill_schedule_launcher();
	for (;;)
	{
		TimestampTz next_round;

		seckill_process_interrupts();
		next_round = last_round + MS(seckill_naptime * 1000);
		if (GetCurrentTimestamp() >= next_round)
		{
			visit_databases();
			last_round = GetCurrentTimestamp();
			next_round = last_round + MS(seckill_naptime * 1000);
		}
		sleep_until(Min(start_keepers(), next_round));
	}
}


/*
 * Transactions of the keeper
 */

/* What a transaction does, inside seckill_ledger_begin() and _end(). */
typedef void (*Task) (void *arg);

static MemoryContext turn_context = NULL;

/* How long a transaction waits for a lock. */
static int	patience = PATIENCE_MS;

static void
run_task(Task task, void *arg)
{
	LedgerCaller caller;

	seckill_process_begin(patience);
	seckill_ledger_begin(&caller);
	task(arg);
	seckill_ledger_end(&caller);
	seckill_process_commit();
	MemoryContextSwitchTo(turn_context);
}

/* Roll back after an error, which is returned. */
static ErrorData *
recover(void)
{
	ErrorData  *error;

	MemoryContextSwitchTo(turn_context);
	HOLD_INTERRUPTS();
	error = CopyErrorData();
	AbortCurrentTransaction();
	FlushErrorState();
	RESUME_INTERRUPTS();
	MemoryContextSwitchTo(turn_context);
	return error;
}

/* Do it in a transaction; returns the error that it raised, or NULL. */
static ErrorData *
try_task(Task task, void *arg)
{
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		run_task(task, arg);
	}
	PG_CATCH();
	{
		error = recover();
	}
	PG_END_TRY();
	return error;
}


/*
 * Orders that are put off
 */

#define ALL_ORDERS	0			/* no order has this number */

static struct
{
	OrderKey	order;
	TimestampTz until;
}			put_off[PUT_OFF];
static int	next_put_off = 0;

/* Is the order put off, or its item? */
static bool
is_put_off(const OrderKey *order)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < PUT_OFF; i++)
		if (put_off[i].until > now &&
			put_off[i].order.item_id == order->item_id &&
			(put_off[i].order.order_id == order->order_id ||
			 put_off[i].order.order_id == ALL_ORDERS))
			return true;
	return false;
}

static void
add_put_off(int64 item_id, int64 order_id)
{
	put_off[next_put_off].order.item_id = item_id;
	put_off[next_put_off].order.order_id = order_id;
	put_off[next_put_off].until = GetCurrentTimestamp() + MS(PUT_OFF_MS);
	next_put_off = (next_put_off + 1) % PUT_OFF;
}

/* How many orders of an item are put off? */
static int
count_put_off(int64 item_id)
{
	TimestampTz now = GetCurrentTimestamp();
	int			n = 0;

	for (int i = 0; i < PUT_OFF; i++)
		n += put_off[i].until > now && put_off[i].order.item_id == item_id;
	return n;
}

/* When the first of them is due again. */
static TimestampTz
end_of_put_off(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz first = DT_NOEND;

	for (int i = 0; i < PUT_OFF; i++)
		if (put_off[i].until > now)
			first = Min(first, put_off[i].until);
	return first;
}

/* The order cannot be expired: not again for a while. */
static void
put_order_off(const OrderKey *order, const ErrorData *error)
{
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("order " INT64_FORMAT " of item " INT64_FORMAT " could not be expired: %s",
					order->order_id, order->item_id, error->message)));
	add_put_off(order->item_id, order->order_id);
	if (count_put_off(order->item_id) < PUT_OFF_ITEM)
		return;
	ereport(LOG,
			(errmsg("expiry of all orders of item " INT64_FORMAT " is put off",
					order->item_id)));
	add_put_off(order->item_id, ALL_ORDERS);
}


/*
 * Expiry
 */

/* Overdue orders of a batch, by item. */
typedef struct Batch
{
	OrderKey   *orders;
	int			n;
	bool		may_wait;		/* they are all of one item */
	TimestampTz now;
	int			expired;
	int			items;			/* of the expired ones */
	int64		locked_item;	/* one that was locked by others */
	bool		found_locked;
	int64		passed[PASSED]; /* items that are passed over */
	int			npassed;
	int			skip;			/* orders of other items that are left */
	int			waiting;		/* those of them that are not put off */
} Batch;

/* The item that was waited for last. */
static int64 last_item = 0;

static int
compare_orders(const void *a, const void *b)
{
	const OrderKey *x = a;
	const OrderKey *y = b;

	if (x->item_id != y->item_id)
		return x->item_id < y->item_id ? -1 : 1;
	return x->order_id < y->order_id ? -1 : x->order_id > y->order_id;
}

/* Read what is overdue, but not what was read before and is left. */
static void
read_overdue(void *arg)
{
	Batch	   *batch = arg;

	batch->n = seckill_ledger_overdue(batch->now, batch->passed,
									  batch->npassed, batch->skip,
									  batch->orders, EXPIRY_BATCH);
	qsort(batch->orders, batch->n, sizeof(OrderKey), compare_orders);
}

static bool
is_passed(const Batch *batch, int64 item_id)
{
	for (int i = 0; i < batch->npassed; i++)
		if (batch->passed[i] == item_id)
			return true;
	return false;
}

static void
pass_over(Batch *batch, int64 item_id)
{
	if (batch->npassed < PASSED && !is_passed(batch, item_id))
		batch->passed[batch->npassed++] = item_id;
}

/* Of the items that are locked, choose the next to last_item, in a circle. */
static void
note_locked(Batch *batch, int64 item_id)
{
	bool		is_next = item_id > last_item;

	pass_over(batch, item_id);
	if (!batch->found_locked ||
		(is_next && batch->locked_item <= last_item))
		batch->locked_item = item_id;
	batch->found_locked = true;
}

/* Expire the orders of one item from i on; returns where the next one is. */
static int
expire_item(Batch *batch, int i, bool locked)
{
	int64		item_id = batch->orders[i].item_id;
	int			end = i;
	int			expired;

	while (end < batch->n && batch->orders[end].item_id == item_id)
		end++;
	if (!locked)
	{
		note_locked(batch, item_id);
		return end;
	}
	expired = seckill_expire(item_id, &batch->orders[i], end - i, batch->now);
	batch->expired += expired;
	batch->items += expired > 0;
	return end;
}

/* Expire the orders of items whose rows can be locked at once. */
static void
expire_free(Batch *batch)
{
	int64	   *ids = palloc(batch->n * sizeof(int64));
	ItemRow    *rows = palloc(batch->n * sizeof(ItemRow));
	bool	   *locked = palloc(batch->n * sizeof(bool));
	int			nitems = 0;
	int			next = 0;

	for (int i = 0; i < batch->n; i++)
		if (i == 0 || batch->orders[i].item_id != batch->orders[i - 1].item_id)
			ids[nitems++] = batch->orders[i].item_id;
	seckill_ledger_try_lock_many(ids, nitems, rows, locked);
	for (int i = 0; i < nitems; i++)
		next = expire_item(batch, next, locked[i]);
}

/* Wait for the row of the one item, then expire its orders. */
static void
expire_waiting(Batch *batch)
{
	ItemRow		row;

	seckill_lease_line_up(batch->orders[0].item_id);
	seckill_ledger_lock(batch->orders[0].item_id, &row);
	(void) expire_item(batch, 0, true);
}

static void
expire_task(void *arg)
{
	Batch	   *batch = arg;

	if (batch->may_wait)
		expire_waiting(batch);
	else
		expire_free(batch);
}

/* Is it an error that comes of what others do just now? */
static bool
is_passing(const ErrorData *error)
{
	switch (error->sqlerrcode)
	{
		case ERRCODE_LOCK_NOT_AVAILABLE:
		case ERRCODE_T_R_DEADLOCK_DETECTED:
		case ERRCODE_T_R_SERIALIZATION_FAILURE:
		case ERRCODE_QUERY_CANCELED:
			return true;
		default:
			return false;
	}
}

/* Those that are not put off, in an array of their own. */
static OrderKey *
without_put_off(const OrderKey *orders, int *n)
{
	OrderKey   *kept = palloc(*n * sizeof(OrderKey));
	int			nkept = 0;

	for (int i = 0; i < *n; i++)
		if (!is_put_off(&orders[i]))
			kept[nkept++] = orders[i];
	*n = nkept;
	return kept;
}

/*
 * Expire a batch; if that fails, one half and then the other, until the order
 * that fails is alone.
 */
static void
expire_all(Batch *batch, const OrderKey *all, int n)
{
	OrderKey   *orders = without_put_off(all, &n);
	int			expired = batch->expired;
	int			items = batch->items;
	ErrorData  *error;

	if (n == 0)
		return;
	batch->orders = orders;
	batch->n = n;
	error = try_task(expire_task, batch);
	if (error == NULL)
		return;
	batch->expired = expired;
	batch->items = items;
	if (is_passing(error) && (batch->may_wait || n == 1))
		return;
	if (n == 1)
		put_order_off(orders, error);
	else
	{
		expire_all(batch, orders, n / 2);
		expire_all(batch, orders + n / 2, n - n / 2);
	}
}

/* Of n orders some were expired: pass over what is left of them. */
static void
note_left(Batch *batch, const OrderKey *orders, int n, int expired)
{
	int			left = -expired;
	int			waiting = -expired;

	for (int i = 0; i < n; i++)
	{
		OrderKey	all = {orders[i].item_id, ALL_ORDERS};

		if (is_put_off(&all))
			pass_over(batch, orders[i].item_id);
		if (is_passed(batch, orders[i].item_id))
			continue;
		left++;
		waiting += !is_put_off(&orders[i]);
	}
	batch->skip += Max(left, 0);
	batch->waiting += Max(waiting, 0);
}

/*
 * Read a batch and expire what can be at once; returns how many were read.
 * *locked are the orders, *nlocked of them, with those of the locked item.
 */
static int
expire_batch(Batch *batch, OrderKey **locked, int *nlocked)
{
	OrderKey   *orders = palloc(EXPIRY_BATCH * sizeof(OrderKey));
	bool		found_locked = batch->found_locked;
	int64		locked_item = batch->locked_item;
	int			expired = batch->expired;
	int			n;

	batch->orders = orders;
	run_task(read_overdue, batch);
	n = batch->n;
	if (n == 0)
		return 0;
	pgstat_report_activity(STATE_RUNNING, "expiring orders");
	expire_all(batch, orders, n);
	note_left(batch, orders, n, batch->expired - expired);
	if (batch->found_locked &&
		(!found_locked || batch->locked_item != locked_item))
	{
		*locked = orders;
		*nlocked = n;
	}
	return n;
}

/*
 * Expire those of the orders that are of the item that was locked.  In vain,
 * others come first for a while, and waits are longer from then on.
 */
static void
expire_patiently(Batch *batch, OrderKey *orders, int n)
{
	static TimestampTz wait_again = 0;
	static int	next_patience = PATIENCE_MS;
	TimestampTz start = GetCurrentTimestamp();
	int			expired = batch->expired;
	int			first = 0;
	int			end;

	if (start < wait_again)
		return;
	while (orders[first].item_id != batch->locked_item)
		first++;
	for (end = first; end < n; end++)
		if (orders[end].item_id != batch->locked_item)
			break;
	last_item = batch->locked_item;
	batch->may_wait = true;
	patience = next_patience;
	expire_all(batch, orders + first, end - first);
	patience = PATIENCE_MS;
	if (batch->expired > expired)
		return;
	next_patience = Min(2 * next_patience, MAX_PATIENCE_MS);
	wait_again = start +
		(WAIT_SPACING + 1) * (GetCurrentTimestamp() - start);
}

/* Expire what is overdue; returns when to look again. */
static TimestampTz
expire_overdue(TimestampTz now)
{
	Batch	   *batch = palloc0(sizeof(Batch));
	OrderKey   *locked = NULL;
	int			nlocked = 0;
	int			n;

	batch->now = now;
	do
		n = expire_batch(batch, &locked, &nlocked);
	while (n == EXPIRY_BATCH && batch->expired < EXPIRY_BATCH &&
		   batch->npassed < PASSED);
	if (batch->found_locked)
		expire_patiently(batch, locked, nlocked);
	if (batch->expired > 0)
	{
		seckill_stat_count(SECKILL_STAT_EXPIRED, batch->expired);
		seckill_stat_count(SECKILL_STAT_EXPIRY_BATCHES, 1);
		ereport(LOG,
				(errmsg("expired %d orders of %d items", batch->expired,
						batch->items)));
	}
	if (batch->expired >= EXPIRY_BATCH)
		return now;				/* there may be more */
	if (batch->found_locked || batch->waiting > 0)
		return GetCurrentTimestamp() + MS(NAP_MS);
	return end_of_put_off();
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
	TimestampTz next;			/* when the keeper must look again */
} Openings;

static void
read_openings(void *arg)
{
	Openings   *openings = arg;
	TimestampTz until = openings->now + MS(seckill_open_ahead);

	openings->n = seckill_ledger_opening(openings->now, until,
										 openings->item_ids, OPENING_BATCH);
	openings->next = seckill_ledger_next_opening(until);
	if (openings->next != DT_NOEND)
		openings->next -= MS(seckill_open_ahead);
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

	opening->done = seckill_lease_prepare(opening->item_id);
}

/* One that cannot be prepared sells from the row at first: say so, once. */
static void
report_opening(int64 item_id, const ErrorData *error)
{
	static int64 reported = 0;

	if (item_id != reported)
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("item " INT64_FORMAT " could not be prepared for its opening: %s",
						item_id, error->message)));
	reported = item_id;
}

/*
 * Give items that are about to open a first lease, where calls that do not
 * name a mode sell from the cache.  Returns when to look again.
 */
static TimestampTz
prepare_openings(void)
{
	Openings	openings = {.now = GetCurrentTimestamp()};

	if (seckill_open_ahead == 0 ||
		(seckill_default_mode != SECKILL_MODE_AUTO &&
		 seckill_default_mode != SECKILL_MODE_CACHE))
		return DT_NOEND;
	openings.item_ids = palloc(OPENING_BATCH * sizeof(int64));
	run_task(read_openings, &openings);
	for (int i = 0; i < openings.n; i++)
	{
		Opening		opening = {.item_id = openings.item_ids[i]};
		ErrorData  *error = try_task(prepare_task, &opening);

		if (error != NULL && !is_passing(error))
			report_opening(opening.item_id, error);
		else if (!opening.done)
			openings.next = Min(openings.next, openings.now + MS(NAP_MS));
	}
	return openings.next;
}


/*
 * The keeper
 */

/* Whatever was not done is due again soon. */
static void
on_exit_keeper(int code, Datum arg)
{
	if (code != 0)
		seckill_schedule_put(GetCurrentTimestamp() + MS(RESTART_MS));
	seckill_schedule_leave();
}

static bool
has_extension(void)
{
	bool		found;

	StartTransactionCommand();
	found = OidIsValid(get_extension_oid("seckill", true));
	CommitTransactionCommand();
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

	next->pay_by = seckill_ledger_next_pay_by(next->after);
}

/*
 * Do what is due, and note when there is more to do: soon if a batch was full,
 * else not at once, so that a sale makes batches of some size.
 */
static void
take_turn(void)
{
	NextOrder	next = {.after = GetCurrentTimestamp()};
	TimestampTz again;

	seckill_schedule_take();
	again = expire_overdue(next.after);
	if (again > next.after)
	{
		run_task(read_next, &next);
		again = Min(again, next.pay_by);
		again = Max(again, GetCurrentTimestamp() + MS(NAP_MS));
	}
	again = Min(again, prepare_openings());
	seckill_schedule_put(again);
	MemoryContextReset(turn_context);
	(void) pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Is somebody about to drop, rename or copy the database?  He has it locked. */
static bool
is_in_the_way(void)
{
	LOCKTAG		tag;
	bool		locked;

	StartTransactionCommand();
	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
	locked = LockAcquire(&tag, RowExclusiveLock, false, true) ==
		LOCKACQUIRE_NOT_AVAIL;
	CommitTransactionCommand();
	MemoryContextSwitchTo(turn_context);
	return locked;
}

void
seckill_keeper_main(Datum arg)
{
	seckill_process_signals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg),
											  InvalidOid, 0);
	if (!has_extension() || !seckill_schedule_attend())
		proc_exit(0);
	before_shmem_exit(on_exit_keeper, (Datum) 0);
	turn_context = AllocSetContextCreate(TopMemoryContext, "seckill keeper",
										 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(turn_context);
	for (;;)
	{
		seckill_process_interrupts();
		take_turn();
		if (seckill_schedule_due() > GetCurrentTimestamp() + MS(LINGER_MS) ||
			is_in_the_way())
			proc_exit(0);
		sleep_until(seckill_schedule_due());
	}
}
