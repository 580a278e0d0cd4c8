/*
 * order.c
 *		The life of an order after the purchase: confirmed, cancelled, expired.
 *
 *	pending -> confirmed	seckill_confirm: it is paid
 *	pending -> cancelled	seckill_cancel
 *	pending -> expired		maintenance worker: it was not paid in time
 *	confirmed -> cancelled	seckill_cancel, with refund
 *	expired -> confirmed	seckill_confirm: paid late, if there are units
 *
 * Pending and confirmed orders are live: they have their units, and count
 * against the limit of the user.  An order that stops being live returns its
 * units to the item's row, where they are on sale, in the transaction that
 * changes its state; only a number whose code was told stays (unit.c).  Its
 * lease_id stays, to tell what the lease has sold.
 *
 * An order changes its state under its row lock, so of concurrent calls one
 * succeeds, and the others find the new state.  Locks are taken in the order
 * tables, order, user, item lock, item's row.  The maintenance worker keeps to
 * this order too (worker/expiry.c), but skips orders that are locked, and
 * waits for an item with a timeout.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/node.h"
#include "base/seat_fit.h"
#include "sale/book.h"
#include "sale/decide.h"
#include "sale/item_lock.h"
#include "sale/limits.h"
#include "sale/order.h"
#include "sale/place.h"
#include "sale/share.h"
#include "sale/unit.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "table/commitments.h"
#include "table/coupons.h"
#include "table/item_row.h"
#include "table/items.h"
#include "table/numbered_items.h"
#include "table/orders.h"
#include "table/relation.h"
#include "table/row_lock.h"
#include "table/seats.h"
#include "xact/changes.h"
#include "xact/entry.h"
#include "xact/seat_hold.h"
#include "xact/standby.h"

/* SQLSTATEs of a refusal, one for each state of the order. */
#define ERRCODE_ORDER_CONFIRMED MAKE_SQLSTATE('S','K','0','0','1')
#define ERRCODE_ORDER_CANCELLED MAKE_SQLSTATE('S','K','0','0','2')
#define ERRCODE_ORDER_EXPIRED	MAKE_SQLSTATE('S','K','0','0','3')

/*
 * Lock and read the order; raise an error if it does not exist.  Orders of an
 * item that is split over nodes stay where they were made.
 */
static void
lock_order(int64 item_id, int64 order_id, OrderRow *order)
{
	ItemRow		row;

	if (seckill_orders_lock(item_id, order_id, order))
		return;
	if (seckill_item_read_latest(item_id, &row) && row.rules.split.n > 0 &&
		seckill_node_of(order_id) != seckill_catalog()->node)
		seckill_order_elsewhere(item_id, order_id);
	seckill_unknown_order(item_id, order_id);
}

/*
 * Sell the units of an expired order again, as mode pessimistic does, or the
 * same seats, and within the limit of its user.  The order was made while the
 * sale was open, so the window is not checked.  Returns false if the limit is
 * reached or the item is sold out, or if what its units are worth is revealed:
 * whoever pays late would know which number is next.
 */
static bool
sell_again(Purchase *p)
{
	Purchase   *list[] = {p};
	ClockTime	made = seckill_clock();
	ItemRow		row;
	Sale		sale;

	if (!seckill_item_read_latest(p->item_id, &row))
		seckill_unknown_item(p->item_id);
	p->rules = row.rules;
	if (seckill_limits_admit_users(list, 1, true) == 0)
		return false;
	seckill_share_fetch(p);
	if (p->npieces > 0)
		return seckill_book_take(p->item_id, p->pieces, p->npieces);
	seckill_item_lock_acquire(p->item_id);
	seckill_item_lock_row(p->item_id, &row);
	p->rules = row.rules;
	if (row.rules.numbered && seckill_commitments_revealed(p->item_id))
		return false;
	if (seckill_decide_any_time(&sale, &row, p) != SECKILL_SOLD)
	{
		seckill_share_check_sold_out(p, made, sale.began);
		return false;
	}
	seckill_decide_end(&sale, p->item_id);
	SECKILL_FAULT("units sold again");
	return true;
}

/*
 * Confirm an expired order if its units can be sold again; return its state.
 */
static OrderState
confirm_late(int64 item_id, int64 order_id, const OrderRow *order)
{
	Purchase	p = {.item_id = item_id,.user_id = order->user_id,
		.quantity = order->quantity,.ordered_at = order->created_at,
		.selling_mode = SECKILL_MODE_PESSIMISTIC,
	.pieces = order->pieces,.npieces = order->npieces};
	bool		sold;

	p.entry = seckill_entry_find(item_id);
	seckill_change_begin_work(item_id);
	sold = sell_again(&p);
	if (sold)
		seckill_orders_confirm_late(item_id, order_id,
									p.rules.per_user_limit > 0, p.unit);
	seckill_change_end_work(1);
	seckill_cache_unpin(p.entry);
	return sold ? ORDER_CONFIRMED : ORDER_EXPIRED;
}

/*
 * Confirm an order.  Returns its state: an expired order stays expired if its
 * units cannot be sold again, or if it keeps its unit because the code was told.
 * Such a code has expired for good.  Raises an error if the order does not
 * exist or was cancelled.
 */
OrderState
seckill_order_confirm(int64 item_id, int64 order_id)
{
	OrderRow	order;

	seckill_place_enter(item_id);
	if (seckill_orders_confirm(item_id, order_id))
		return ORDER_CONFIRMED;
	lock_order(item_id, order_id, &order);
	switch (order.state)
	{
		case ORDER_PENDING:
			/* it was committed since the first UPDATE, and is locked now */
			if (!seckill_orders_confirm(item_id, order_id))
				seckill_orders_not_updated(item_id, order_id);
			return ORDER_CONFIRMED;
		case ORDER_CONFIRMED:
			if (order.unit != 0)
				seckill_coupon_note_payment(item_id, order_id);
			return ORDER_CONFIRMED;
		case ORDER_EXPIRED:
			if (order.unit != 0)
				return ORDER_EXPIRED;
			return confirm_late(item_id, order_id, &order);
		case ORDER_CANCELLED:
			break;
	}
	seckill_standby_flush_seen();
	ereport(ERROR,
			(errcode(ERRCODE_ORDER_CANCELLED),
			 errmsg("order " INT64_FORMAT " of item " INT64_FORMAT " was cancelled",
					order_id, item_id),
			 errhint("Give the payment back, or make another purchase.")));
}

/*
 * Return seats of orders of one item that are no longer live; puts the pieces
 * in order.  Waits for the rows of the seats and locks them.
 */
static void
return_seats(int64 item_id, SeatPiece *pieces, int n)
{
	n = seat_merge(pieces, n);
	seckill_relation_lock_seats();
	seckill_seats_return(item_id, pieces, n);
	seckill_seat_hold_return(item_id, pieces, n);
}

/*
 * Return the units of orders that are no longer live to their item's row.
 * Waits for the row and locks it.  Raises a serialization failure if values are
 * told before payment by now, and were not when the numbers were chosen: the
 * buyer of a pending order may know a code.
 */
void
seckill_order_return_units(int64 item_id, const ReturnedUnits *returned)
{
	ItemRow		row;
	int64		units = returned->units;

	if (returned->npieces > 0)
		return_seats(item_id, returned->pieces, returned->npieces);
	if (units == 0)
		return;
	if (units > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("too many units of item " INT64_FORMAT " at once",
						item_id)));
	seckill_item_lock_row(item_id, &row);
	seckill_share_await_promises(item_id, &row.rules);
	if (row.rules.tells_pending && returned->numbers != NULL &&
		!returned->tells_pending)
		seckill_serialization_failure();	/* a code was told meanwhile */
	if (returned->numbers != NULL)
		seckill_numbered_add_stock(item_id, returned->numbers, (int32) units);
	else
		seckill_item_add_stock(item_id, (int32) units);
	SECKILL_FAULT("units put back");
}

/* Cancel a locked order that is live, and return its units. */
static void
cancel(int64 item_id, int64 order_id, OrderRow *order)
{
	ReturnedUnits returned = {
		.units = order->npieces > 0 ? 0 : order->quantity,
		.numbers = order->unit != 0 ? &order->unit : NULL,
		.pieces = order->pieces,
		.npieces = order->npieces
	};
	bool		stays = seckill_unit_stays(item_id, order,
										   &returned.tells_pending);

	seckill_change_begin_work(item_id);
	if (order->unit != 0)
		seckill_change_note_moving(item_id, &order->unit, 1);
	seckill_orders_cancel(item_id, order_id, stays);
	SECKILL_FAULT("order cancelled");
	if (!stays)
	{
		if (returned.units > 0)
			seckill_item_lock_acquire(item_id);
		seckill_order_return_units(item_id, &returned);
	}
	seckill_change_end_work(1);
}

/*
 * Cancel an order and return its units; a confirmed one only with refund.
 * Returns its state.  Raises an error if the order does not exist, has
 * expired, or is confirmed and refund is false.
 */
OrderState
seckill_order_cancel(int64 item_id, int64 order_id, bool refund)
{
	OrderRow	order;

	seckill_place_enter(item_id);
	lock_order(item_id, order_id, &order);
	if (order.state == ORDER_CANCELLED)
		return ORDER_CANCELLED;
	if (order.state == ORDER_EXPIRED ||
		(order.state == ORDER_CONFIRMED && !refund))
		seckill_standby_flush_seen();
	if (order.state == ORDER_EXPIRED)
		ereport(ERROR,
				(errcode(ERRCODE_ORDER_EXPIRED),
				 errmsg("order " INT64_FORMAT " of item " INT64_FORMAT " has expired",
						order_id, item_id),
				 errdetail("It was not paid in time.")));
	if (order.state == ORDER_CONFIRMED && !refund)
		ereport(ERROR,
				(errcode(ERRCODE_ORDER_CONFIRMED),
				 errmsg("order " INT64_FORMAT " of item " INT64_FORMAT " is confirmed",
						order_id, item_id),
				 errhint("To take a confirmed order back, call seckill_cancel() with refund => true.")));
	cancel(item_id, order_id, &order);
	return ORDER_CANCELLED;
}
