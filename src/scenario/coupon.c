/*
 * coupon.c
 *		Coupons: the code of a unit is redeemed by its buyer, and released.
 *
 * A code is redeemed once, by the user whose live order has it and who was
 * told it.  Whoever tries another code learns nothing: there is none such,
 * it is for sale, it is another user's or it was not told are one answer, found
 * by the same steps.  Each of these looks for a row by its key: the number of
 * the code, and the order of the user that has the number.  A code that is
 * unknown has number 0, which no order has.  No step waits or writes before an
 * order of the user is found that was told the code.
 *
 * Each try counts against the rate of the user, like a purchase.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/check.h"
#include "base/fault.h"
#include "sale/rules.h"
#include "sale/share.h"
#include "scenario/coupon.h"
#include "seckill.h"
#include "table/coupons.h"
#include "table/item_row.h"
#include "table/orders.h"
#include "table/unit_scan.h"

/*
 * Count a try against the rate of the user; false if it exceeds the rate.  A
 * token is for purchases.
 */
static bool
keeps_rate(int64 item_id, int64 user_id, const SaleRules *rules)
{
	Purchase	p = {.item_id = item_id,.user_id = user_id,.rules = *rules};

	p.rules.require_token = false;
	return seckill_rules_keeps_rate(&p);
}

/* Read the rules of an item whose units have numbers. */
static void
read_rules(int64 item_id, SaleRules *rules)
{
	ItemRow		row;

	if (!seckill_item_read_latest(item_id, &row))
		seckill_unknown_item(item_id);
	if (!row.rules.numbered)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("units of item " INT64_FORMAT " have no codes",
						item_id),
				 errhint("Use an item that was created with numbered => true.")));
	*rules = row.rules;
}

/*
 * Redeem a code for a user.  Unless the answer is "unknown" or "rate_limited",
 * *order_id and *state are set to the order and its state after the call.
 */
RedeemOutcome
seckill_coupon_try(int64 item_id, const text *code, int64 user_id,
				   int64 *order_id, OrderState *state)
{
	SaleRules	rules;
	Coupon		coupon;
	int32		unit;

	read_rules(item_id, &rules);
	seckill_share_check_user(item_id, &rules.split, user_id);
	if (!keeps_rate(item_id, user_id, &rules))
		return REDEEM_RATE_LIMITED;
	unit = seckill_unit_scan_find(item_id, code);
	if (!seckill_coupon_lock_told(item_id, unit, user_id, rules.tells_pending,
								  &coupon))
		return REDEEM_UNKNOWN;
	*order_id = coupon.order_id;
	*state = coupon.state;
	if (coupon.state != ORDER_PENDING && coupon.state != ORDER_CONFIRMED)
		return REDEEM_EXPIRED;
	if (coupon.redeemed)
		return REDEEM_USED;
	seckill_coupon_redeem(item_id, coupon.order_id);
	SECKILL_FAULT("code redeemed");
	*state = ORDER_CONFIRMED;
	return REDEEM_REDEEMED;
}

/* The state that an order returns to when its code is released. */
static OrderState
state_released(const Coupon *coupon)
{
	if (!coupon->was_pending)
		return ORDER_CONFIRMED;
	return coupon->pay_by > GetCurrentTimestamp() ? ORDER_PENDING :
		ORDER_EXPIRED;
}

/*
 * Make the code of an order redeemable again; returns the state of the order.
 * One that was pending is pending again until its pay_by, and has expired after
 * that.  An order that is not live, or whose code is not redeemed, stays as it
 * is.  Raises an error if there is no such order.
 */
OrderState
seckill_coupon_give_back(int64 item_id, int64 order_id)
{
	OrderRow	order;
	Coupon		coupon;
	OrderState	state;

	if (!seckill_orders_lock(item_id, order_id, &order))
		seckill_unknown_order(item_id, order_id);
	seckill_coupon_read(item_id, order_id, &coupon);
	if (!coupon.redeemed || coupon.state != ORDER_CONFIRMED)
		return coupon.state;
	state = state_released(&coupon);
	seckill_coupon_release(item_id, &coupon, state);
	SECKILL_FAULT("code released");
	return state;
}
