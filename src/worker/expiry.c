/*
 * expiry.c
 *		Expiry of unpaid orders, in the maintenance worker.
 *
 * The due rows of due_work.c are pending orders past their pay_by.  The orders
 * are locked first and the rows of their items last, to put the units back, as
 * everywhere (sale/order.c).
 */
#include "postgres.h"

#include "sale/order.h"
#include "sale/unit.h"
#include "shmem/stat.h"
#include "table/orders.h"
#include "worker/due_work.h"
#include "worker/expiry.h"

/* Expire orders of an item; *moved has the units or seats to be returned. */
static int
expire_orders(int64 item_id, const DueKey *orders, int n, TimestampTz now,
			  void **moved)
{
	ReturnedUnits *returned = palloc(sizeof(ReturnedUnits));
	int			expired = seckill_unit_expire(item_id, orders, n, now, returned);

	if (returned->units > 0 || returned->npieces > 0)
		*moved = returned;
	return expired;
}

static void
return_units(int64 item_id, void *moved)
{
	seckill_order_return_units(item_id, moved);
}

static DueKind expiry = {
	.row = "order",
	.processed = "expired",
	.work = "expiry of all orders",
	.activity = "expiring orders",
	.batch = 1000,
	.read = seckill_orders_overdue,
	.process = expire_orders,
	.move = return_units,
	.backoff = BACKOFF_INIT(DUE_WAIT_MS, DUE_MAX_WAIT_MS, DUE_WAIT_SPACING)
};

/* Are orders deferred? */
bool
seckill_expiry_has_deferred(void)
{
	return seckill_due_work_has_deferred(&expiry);
}

/* Expire the orders that are overdue at now; see seckill_due_work_run(). */
int64
seckill_expiry_run(TimestampTz now, int64 urgent)
{
	DueProgress progress;
	int64		delay = seckill_due_work_run(&expiry, now, urgent, &progress);

	if (progress.rows > 0)
	{
		seckill_stat_count(SECKILL_STAT_EXPIRED, progress.rows);
		seckill_stat_count(SECKILL_STAT_EXPIRY_BATCHES, 1);
		ereport(DEBUG1,
				(errmsg("expired %d orders of %d items", progress.rows,
						progress.items)));
	}
	return delay;
}
