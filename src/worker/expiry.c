/*
 * expiry.c
 *		Expiring orders that were not paid in time, in the keeper.
 *
 * Overdue orders are expired in batches, one transaction each, of the items
 * whose rows nobody has locked.  For one of the locked ones the keeper then
 * waits a while, in the item's line.  On an error the
 * batch is tried in halves; an order that fails alone is put off, and an item
 * of which several do.
 */
#include "postgres.h"

#include "pgstat.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "sale/item_lock.h"
#include "sale/order.h"
#include "shmem/stat.h"
#include "table/items.h"
#include "table/orders.h"
#include "table/relation.h"
#include "worker/expiry.h"
#include "worker/process.h"
#include "xact/changes.h"

/* Orders in one transaction at most. */
#define EXPIRY_BATCH		1000

/*
 * How long to wait for the row of one item, at first and at most.  A line of
 * buyers may be longer than the first.
 */
#define WAIT_MS			200
#define MAX_WAIT_MS		1600

/* A wait in vain is followed by so many times its length without one. */
#define WAIT_SPACING		4

/*
 * How long an order that cannot be expired is put off, and how many such; from
 * how many such orders of an item on all are.
 */
#define DEFER_MS			60000
#define MAX_DEFERRED				64
#define DEFER_ITEM		4

/* So many orders are named a minute that cannot be expired. */
#define LOG_ORDERS			20

/* Items that are passed over in one turn at most. */
#define MAX_SKIPPED				1000


/*
 * Orders that are put off
 */

#define ALL_ORDERS	0			/* no order has this number */

static struct
{
	OrderKey	order;
	ClockTime	until;
}			deferred[MAX_DEFERRED];
static int	next_deferred = 0;

/* Is the order put off, or its item? */
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

/* How many orders of an item are put off? */
static int
count_deferred(int64 item_id)
{
	ClockTime	now = seckill_clock();
	int			n = 0;

	for (int i = 0; i < MAX_DEFERRED; i++)
		n += deferred[i].until > now && deferred[i].order.item_id == item_id;
	return n;
}

/* After how many microseconds the first of them is due again. */
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

/* Is something put off, which another keeper would not know? */
bool
seckill_expiry_remembers(void)
{
	return end_of_deferral() != SECKILL_NEVER;
}

/* The order cannot be expired: not again for a while. */
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
				(errmsg("expiry of all orders of item " INT64_FORMAT " is put off",
						order->item_id)));
	add_deferred(order->item_id, ALL_ORDERS);
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
	int64		passed[MAX_SKIPPED];	/* items that are passed over */
	int			npassed;
	int			skip;			/* orders of other items that are left */
	int			waiting;		/* those of them that are not put off */
} Batch;

/* The item that was waited for last. */
static int64 last_item = 0;

/* How long a transaction waits for a lock. */
static int	wait_ms = WAIT_MS;

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

	batch->n = seckill_orders_overdue(batch->now, batch->passed,
									  batch->npassed, batch->skip,
									  batch->orders, EXPIRY_BATCH);
	qsort(batch->orders, batch->n, sizeof(OrderKey), compare_orders);
}

static bool
is_skipped(const Batch *batch, int64 item_id)
{
	for (int i = 0; i < batch->npassed; i++)
		if (batch->passed[i] == item_id)
			return true;
	return false;
}

static void
skip_item(Batch *batch, int64 item_id)
{
	if (batch->npassed < MAX_SKIPPED && !is_skipped(batch, item_id))
		batch->passed[batch->npassed++] = item_id;
}

/* Of the items that are locked, choose the next to last_item, in a circle. */
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
 * Expire the orders of one item from i on; returns where the next one is.
 * *units are to be put back.
 */
static int
expire_item(Batch *batch, int i, int64 *units)
{
	int64		item_id = batch->orders[i].item_id;
	int			end = i;
	int			expired;

	while (end < batch->n && batch->orders[end].item_id == item_id)
		end++;
	expired = seckill_orders_expire(item_id, &batch->orders[i], end - i,
									batch->now, units);
	SECKILL_FAULT("orders expired");
	batch->expired += expired;
	batch->items += expired > 0;
	return end;
}

/*
 * Expire the orders of items whose rows are not locked.  The rows are locked
 * last, to have them for a short time.
 */
static void
expire_free(Batch *batch)
{
	int64	   *ids = palloc(batch->n * sizeof(int64));
	int64	   *units = palloc0(batch->n * sizeof(int64));
	bool	   *unlocked = palloc(batch->n * sizeof(bool));
	int			nitems = 0;
	int			next = 0;

	for (int i = 0; i < batch->n; i++)
		if (i == 0 || batch->orders[i].item_id != batch->orders[i - 1].item_id)
			ids[nitems++] = batch->orders[i].item_id;
	seckill_items_test_locks(ids, nitems, unlocked);
	SECKILL_FAULT("rows probed");
	for (int i = 0; i < nitems; i++)
		seckill_change_begin_work(ids[i]);
	for (int i = 0; i < nitems; i++)
	{
		while (batch->orders[next].item_id != ids[i])
			next++;
		if (unlocked[i])
			next = expire_item(batch, next, &units[i]);
		else
			note_locked(batch, ids[i]);
	}
	for (int i = 0; i < nitems; i++)
		if (units[i] > 0)
			seckill_order_return_units(ids[i], units[i]);
	seckill_change_end_work(nitems);
}

/* The same for one item, in its line. */
static void
expire_waiting(Batch *batch)
{
	int64		item_id = batch->orders[0].item_id;
	int64		units;

	seckill_change_begin_work(item_id);
	(void) expire_item(batch, 0, &units);
	if (units > 0)
	{
		seckill_item_lock_acquire(item_id);
		seckill_order_return_units(item_id, units);
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
		expire_free(batch);
}

/* Those that are not put off, in an array of their own. */
static OrderKey *
without_deferred(const OrderKey *orders, int *n)
{
	OrderKey   *kept = palloc(*n * sizeof(OrderKey));
	int			nkept = 0;

	for (int i = 0; i < *n; i++)
		if (!is_deferred(&orders[i]))
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
	OrderKey   *orders = without_deferred(all, &n);
	int			expired = batch->expired;
	int			items = batch->items;
	ErrorData  *error;

	if (n == 0)
		return;
	batch->orders = orders;
	batch->n = n;
	error = seckill_process_try(expire_task, batch, wait_ms);
	if (error == NULL)
		return;
	batch->expired = expired;
	batch->items = items;
	if (seckill_process_is_passing(error) && (batch->may_wait || n == 1))
		return;
	if (n == 1)
		defer_order(orders, error);
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

		if (is_deferred(&all))
			skip_item(batch, orders[i].item_id);
		if (is_skipped(batch, orders[i].item_id))
			continue;
		left++;
		waiting += !is_deferred(&orders[i]);
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
	batch->n = 0;
	if (!seckill_process_run_soon(read_overdue, batch, WAIT_MS))
		batch->waiting++;		/* the table is locked: look again soon */
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
expire_waiting_for(Batch *batch, OrderKey *orders, int n)
{
	static ClockTime wait_again = 0;
	static int	next_patience = WAIT_MS;
	ClockTime	start = seckill_clock();
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
	wait_ms = next_patience;
	expire_all(batch, orders + first, end - first);
	wait_ms = WAIT_MS;
	if (batch->expired > expired)
		return;
	next_patience = Min(2 * next_patience, MAX_WAIT_MS);
	wait_again = start +
		(WAIT_SPACING + 1) * (seckill_clock() - start);
}

/* Expire what is overdue; returns after how many microseconds to look again. */
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
		   batch->npassed < MAX_SKIPPED);
	if (batch->found_locked)
		expire_waiting_for(batch, locked, nlocked);
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
