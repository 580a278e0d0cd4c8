/*
 * expiry.c
 *		Expiry of unpaid orders, in the maintenance worker.
 *
 * A turn reads overdue orders in batches and expires them, one transaction per
 * batch.  It locks the orders first and the rows of their items last, to put
 * the units back; items whose rows are locked by others are skipped.
 *
 * After that it waits for the row of one skipped item, under the item lock and
 * with a timeout.  The skipped items take turns; timeouts and the pauses
 * between them follow backoff.c.
 *
 * When a batch fails, bisect.c finds the order that fails alone.  That order
 * is deferred for a minute, and so are all orders of its item if several of
 * them are deferred.
 *
 * The deferred orders, the item waited for last and the backoff are kept in
 * the memory of the worker.
 */
#include "postgres.h"

#include "pgstat.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "sale/item_lock.h"
#include "sale/order.h"
#include "sale/unit.h"
#include "shmem/stat.h"
#include "table/orders.h"
#include "table/relation.h"
#include "table/row_lock.h"
#include "worker/backoff.h"
#include "worker/bisect.h"
#include "worker/expiry.h"
#include "worker/process.h"
#include "xact/changes.h"

/* Maximum number of orders in one transaction. */
#define EXPIRY_BATCH		1000

/*
 * First and longest timeout of the wait for one item's row.  Many buyers may
 * be queued on its item lock for longer than the first.
 */
#define WAIT_MS			200
#define MAX_WAIT_MS		1600

/* Pause after a wait that timed out, in multiples of its length. */
#define WAIT_SPACING		4

/* How long an order that cannot be expired is deferred. */
#define DEFER_MS		60000

/* Maximum number of deferred orders remembered. */
#define MAX_DEFERRED		64

/* With so many deferred orders, all orders of the item are deferred. */
#define DEFER_ITEM		4

/* Maximum number of logged orders a minute that cannot be expired. */
#define LOG_ORDERS		20

/* Maximum number of items skipped in one turn. */
#define MAX_SKIPPED		1000


/*
 * Deferred orders
 */

/* Stands for all orders of an item; no order has this number. */
#define ALL_ORDERS	0

/* A ring of the orders deferred last. */
static struct
{
	OrderKey	order;
	ClockTime	until;
}			deferred[MAX_DEFERRED];
static int	next_deferred = 0;

/* Is the order deferred, by itself or with its item? */
static bool
is_deferred(const OrderKey *order)
{
	ClockTime	now = seckill_clock();

	for (int i = 0; i < MAX_DEFERRED; i++)
		if (deferred[i].until > now &&
			deferred[i].order.item_id == order->item_id &&
			(deferred[i].order.order_id == order->order_id ||
			 deferred[i].order.order_id == ALL_ORDERS))
			return true;
	return false;
}

static void
add_deferred(int64 item_id, int64 order_id)
{
	deferred[next_deferred].order.item_id = item_id;
	deferred[next_deferred].order.order_id = order_id;
	deferred[next_deferred].until = seckill_clock() + USECS(DEFER_MS);
	next_deferred = (next_deferred + 1) % MAX_DEFERRED;
}

/* Count the deferred orders of an item. */
static int
count_deferred(int64 item_id)
{
	ClockTime	now = seckill_clock();
	int			n = 0;

	for (int i = 0; i < MAX_DEFERRED; i++)
		n += deferred[i].until > now && deferred[i].order.item_id == item_id;
	return n;
}

/* Return the microseconds until the first deferral ends, or SECKILL_NEVER. */
static int64
end_of_deferral(void)
{
	ClockTime	now = seckill_clock();
	int64		first = SECKILL_NEVER;

	for (int i = 0; i < MAX_DEFERRED; i++)
		if (deferred[i].until > now)
			first = Min(first, deferred[i].until - now);
	return first;
}

/* Are orders deferred?  A new worker would not know of them. */
bool
seckill_expiry_has_deferred(void)
{
	return end_of_deferral() != SECKILL_NEVER;
}

/*
 * Defer an order that could not be expired, and its item if it has too many of
 * them; log it, within limits.
 */
static void
defer_order(const OrderKey *order, const ErrorData *error)
{
	static LogKind logged = {0};
	bool		report = seckill_process_may_log(&logged, LOG_ORDERS);

	if (report)
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("order " INT64_FORMAT " of item " INT64_FORMAT " could not be expired: %s",
						order->order_id, order->item_id,
						seckill_process_message(error))));
	add_deferred(order->item_id, order->order_id);
	if (count_deferred(order->item_id) < DEFER_ITEM)
		return;
	if (report)
		ereport(LOG,
				(errmsg("expiry of all orders of item " INT64_FORMAT " is deferred",
						order->item_id)));
	add_deferred(order->item_id, ALL_ORDERS);
}


/*
 * Expiry
 */

/* A turn, and the part of a batch that it processes now. */
typedef struct Batch
{
	OrderKey   *orders;			/* read or processed now, by item */
	int			n;
	OrderKey   *all;			/* the list that is being bisected */
	bool		may_wait;		/* all orders are of one item */
	TimestampTz now;
	int			expired;
	int			items;			/* of the expired orders */
	int64		locked_item;	/* the skipped item to wait for */
	bool		found_locked;
	int64		skipped[MAX_SKIPPED];	/* items not to be read again */
	int			nskipped;
	int			left;			/* orders of other items left unexpired */
	int			waiting;		/* those of them that are not deferred */
} Batch;

/* The skipped item that was waited for last. */
static int64 last_item = 0;

/*
 * Timeout of waits for a skipped item.  A success does not reset it: it stays
 * for the life of the worker.
 */
static Backoff backoff = BACKOFF_INIT(WAIT_MS, MAX_WAIT_MS, WAIT_SPACING);

static int
compare_orders(const void *a, const void *b)
{
	const OrderKey *x = a;
	const OrderKey *y = b;

	if (x->item_id != y->item_id)
		return x->item_id < y->item_id ? -1 : 1;
	return x->order_id < y->order_id ? -1 : x->order_id > y->order_id;
}

/* Read overdue orders, without those that earlier batches have left. */
static void
read_overdue(void *arg)
{
	Batch	   *batch = arg;

	batch->n = seckill_orders_overdue(batch->now, batch->skipped,
									  batch->nskipped, batch->left,
									  batch->orders, EXPIRY_BATCH);
	qsort(batch->orders, batch->n, sizeof(OrderKey), compare_orders);
}

static bool
is_skipped(const Batch *batch, int64 item_id)
{
	for (int i = 0; i < batch->nskipped; i++)
		if (batch->skipped[i] == item_id)
			return true;
	return false;
}

static void
skip_item(Batch *batch, int64 item_id)
{
	if (batch->nskipped < MAX_SKIPPED && !is_skipped(batch, item_id))
		batch->skipped[batch->nskipped++] = item_id;
}

/*
 * Skip an item whose row is locked.  Of all such items, choose the one that
 * follows last_item, in a circle, to wait for.
 */
static void
note_locked(Batch *batch, int64 item_id)
{
	bool		is_next = item_id > last_item;

	skip_item(batch, item_id);
	if (!batch->found_locked ||
		(is_next && batch->locked_item <= last_item))
		batch->locked_item = item_id;
	batch->found_locked = true;
}

/*
 * Expire the orders of one item, which start at i.  Returns the start of the
 * next item; what *returned has is to be returned to the row.
 */
static int
expire_item(Batch *batch, int i, ReturnedUnits *returned)
{
	int64		item_id = batch->orders[i].item_id;
	int			end = i;
	int			expired;

	while (end < batch->n && batch->orders[end].item_id == item_id)
		end++;
	expired = seckill_unit_expire(item_id, &batch->orders[i], end - i,
								  batch->now, returned);
	SECKILL_FAULT("orders expired");
	batch->expired += expired;
	batch->items += expired > 0;
	return end;
}

/*
 * Expire the orders of all items whose rows are not locked, and skip the other
 * items.  The rows are locked last, to hold their locks for a short time.
 */
static void
expire_unlocked(Batch *batch)
{
	int64	   *ids = palloc(batch->n * sizeof(int64));
	ReturnedUnits *returned = palloc0(batch->n * sizeof(ReturnedUnits));
	bool	   *unlocked = palloc(batch->n * sizeof(bool));
	int			nitems = 0;
	int			next = 0;

	for (int i = 0; i < batch->n; i++)
		if (i == 0 || batch->orders[i].item_id != batch->orders[i - 1].item_id)
			ids[nitems++] = batch->orders[i].item_id;
	seckill_items_test_locks(ids, nitems, unlocked);
	SECKILL_FAULT("row locks tested");
	for (int i = 0; i < nitems; i++)
		seckill_change_begin_work(ids[i]);
	for (int i = 0; i < nitems; i++)
	{
		while (batch->orders[next].item_id != ids[i])
			next++;
		if (unlocked[i])
			next = expire_item(batch, next, &returned[i]);
		else
			note_locked(batch, ids[i]);
	}
	for (int i = 0; i < nitems; i++)
		seckill_order_return_units(ids[i], &returned[i]);
	seckill_change_end_work(nitems);
}

/* Expire the orders of one item, waiting for its item lock and its row. */
static void
expire_waiting(Batch *batch)
{
	int64		item_id = batch->orders[0].item_id;
	ReturnedUnits returned;

	seckill_change_begin_work(item_id);
	(void) expire_item(batch, 0, &returned);
	if (returned.units > 0)
	{
		seckill_item_lock_acquire(item_id);
		seckill_order_return_units(item_id, &returned);
	}
	seckill_change_end_work(1);
}

static void
expire_task(void *arg)
{
	Batch	   *batch = arg;

	seckill_relation_lock_items();
	if (batch->may_wait)
		expire_waiting(batch);
	else
		expire_unlocked(batch);
}

/* Move the orders that are not deferred to the front; return their number. */
static int
drop_deferred(OrderKey *orders, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
		if (!is_deferred(&orders[i]))
			orders[kept++] = orders[i];
	return kept;
}

/* Expire a part of a batch in one transaction; Bisection.attempt. */
static void
expire_part(void *arg, BatchPart *part)
{
	Batch	   *batch = arg;
	int			expired = batch->expired;
	int			items = batch->items;

	batch->orders = &batch->all[part->first];
	part->n = drop_deferred(batch->orders, part->n);
	batch->n = part->n;
	if (part->n == 0)
		return;
	part->error = seckill_process_try(expire_task, batch,
									  batch->may_wait ? backoff.timeout_ms : WAIT_MS);
	if (part->error == NULL)
		return;
	part->transient = seckill_process_is_transient(part->error);
	batch->expired = expired;
	batch->items = items;
}

/* Defer the order that fails alone; Bisection.fail. */
static void
defer_part(void *arg, const BatchPart *part)
{
	Batch	   *batch = arg;

	defer_order(&batch->all[part->first], part->error);
}

/* Expire orders, except for those that are deferred or fail. */
static void
expire_all(Batch *batch, const OrderKey *orders, int n)
{
	Bisection	bisection = {
		.attempt = expire_part,
		.fail = defer_part,
		.arg = batch,
		.keep_whole = batch->may_wait
	};

	batch->all = palloc(n * sizeof(OrderKey));
	memcpy(batch->all, orders, n * sizeof(OrderKey));
	seckill_bisect(&bisection, 0, n);
}

/*
 * After some of n orders were expired: have the next read skip the rest, by
 * item if the item is skipped, else by number.
 */
static void
note_left(Batch *batch, const OrderKey *orders, int n, int expired)
{
	int			left = -expired;
	int			waiting = -expired;

	for (int i = 0; i < n; i++)
	{
		OrderKey	all = {orders[i].item_id, ALL_ORDERS};

		if (is_deferred(&all))
			skip_item(batch, orders[i].item_id);
		if (is_skipped(batch, orders[i].item_id))
			continue;
		left++;
		waiting += !is_deferred(&orders[i]);
	}
	batch->left += Max(left, 0);
	batch->waiting += Max(waiting, 0);
}

/*
 * Read a batch and expire what can be expired without waiting.  Returns how
 * many orders were read.  If the batch has orders of the item to wait for,
 * *locked and *nlocked are set to its orders.
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
	batch->n = 0;
	if (!seckill_process_run(read_overdue, batch, WAIT_MS))
		batch->waiting++;		/* the table is locked: retry soon */
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
 * Expire the orders of the skipped item, waiting for its row; unless the pause
 * after an earlier timeout is not over.
 */
static void
expire_skipped(Batch *batch, OrderKey *orders, int n)
{
	ClockTime	start = seckill_clock();
	int			expired = batch->expired;
	int			first = 0;
	int			end;

	if (!seckill_backoff_may_wait(&backoff))
		return;
	while (orders[first].item_id != batch->locked_item)
		first++;
	for (end = first; end < n; end++)
		if (orders[end].item_id != batch->locked_item)
			break;
	last_item = batch->locked_item;
	batch->may_wait = true;
	expire_all(batch, orders + first, end - first);
	if (batch->expired == expired)
		seckill_backoff_timed_out(&backoff, start);
}

/*
 * Expire the orders that are overdue at a time.  Returns the microseconds
 * until the next turn, 0 if there may be more, or SECKILL_NEVER.
 */
int64
seckill_expiry_run(TimestampTz now)
{
	Batch	   *batch = palloc0(sizeof(Batch));
	OrderKey   *locked = NULL;
	int			nlocked = 0;
	int			n;

	batch->now = now;
	do
		n = expire_batch(batch, &locked, &nlocked);
	while (n == EXPIRY_BATCH && batch->expired < EXPIRY_BATCH &&
		   batch->nskipped < MAX_SKIPPED);
	if (batch->found_locked)
		expire_skipped(batch, locked, nlocked);
	if (batch->expired > 0)
	{
		seckill_stat_count(SECKILL_STAT_EXPIRED, batch->expired);
		seckill_stat_count(SECKILL_STAT_EXPIRY_BATCHES, 1);
		ereport(DEBUG1,
				(errmsg("expired %d orders of %d items", batch->expired,
						batch->items)));
	}
	if (batch->expired >= EXPIRY_BATCH)
		return 0;				/* there may be more */
	if (batch->found_locked || batch->waiting > 0)
		return USECS(SECKILL_MAINTENANCE_NAP);
	return end_of_deferral();
}
