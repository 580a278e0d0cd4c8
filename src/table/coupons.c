/*
 * coupons.c
 *		Statements on orders whose units have codes: redeem one, release it.
 *
 * All functions run between seckill_table_begin() and seckill_table_end(), as
 * the owner of seckill.orders.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/fault.h"
#include "seckill.h"
#include "shmem/schedule.h"
#include "table/coupons.h"
#include "table/orders.h"
#include "table/plan.h"

/* Read the columns of an order from row 0 of the result, and free it. */
static void
read_coupon(Coupon *coupon)
{
	coupon->order_id = DatumGetInt64(seckill_plan_result_column(0, 1, Int64GetDatum(0)));
	coupon->state = seckill_orders_state_of(DatumGetObjectId(seckill_plan_result_column(0, 2, 0)));
	coupon->redeemed = DatumGetBool(seckill_plan_result_column(0, 3, BoolGetDatum(false)));
	coupon->was_pending = DatumGetBool(seckill_plan_result_column(0, 4, BoolGetDatum(false)));
	coupon->pay_by = DatumGetTimestampTz(seckill_plan_result_column(0, 5,
																	TimestampTzGetDatum(DT_NOEND)));
	SPI_freetuptable(SPI_tuptable);
}

#define COUPON \
	"SELECT order_id, state, redeemed_at IS NOT NULL," \
	" redeemed_from" EQ "'pending', pay_by FROM seckill.orders"

#define TOLD	"item_id" EQ "$1 AND unit" EQ "$2 AND user_id" EQ "$3" \
	" AND (state" NE "'pending' OR $4)"

static SqlPlan lock_told_plan = {
	.sql = COUPON " WHERE " TOLD " FOR NO KEY UPDATE",
	.nargs = 4,
	.types = {INT8OID, INT4OID, INT8OID, BOOLOID}
};

static SqlPlan has_told_plan = {
	.sql = "SELECT 1 FROM seckill.orders WHERE " TOLD,
	.nargs = 4,
	.types = {INT8OID, INT4OID, INT8OID, BOOLOID}
};

/*
 * Lock and read the order of a user that has, or has kept, this number, if the
 * user was told its value; false if there is none.  Pending orders were told
 * if tells_pending.  An order that the transaction's snapshot is too old to see
 * is a serialization failure.
 */
bool
seckill_coupon_lock_told(int64 item_id, int32 unit, int64 user_id,
						 bool tells_pending, Coupon *coupon)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(unit),
	Int64GetDatum(user_id), BoolGetDatum(tells_pending)};

	if (seckill_orders_run(&lock_told_plan, args) == 0)
	{
		if (IsolationUsesXactSnapshot() &&
			seckill_plan_run_latest(&has_told_plan, args,
									seckill_catalog()->orders_owner) > 0)
			seckill_serialization_failure();
		return false;
	}
	read_coupon(coupon);
	SECKILL_FAULT("coupon locked");
	return true;
}

static SqlPlan lock_plan = {
	.sql = COUPON " WHERE item_id" EQ "$1 AND order_id" EQ "$2"
	" FOR NO KEY UPDATE",
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/*
 * Lock and read an order, which the caller has locked before; raises an error
 * if there is none.
 */
void
seckill_coupon_read(int64 item_id, int64 order_id, Coupon *coupon)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id)};

	if (seckill_orders_run(&lock_plan, args) == 0)
		seckill_unknown_order(item_id, order_id);
	read_coupon(coupon);
}

/*
 * Run an UPDATE of a locked order, the second argument, that returns whether
 * the order is as it is to be; raises an error if it is not.
 */
static void
update_coupon(SqlPlan *plan, Datum *args)
{
	if (seckill_orders_run(plan, args) != 1 ||
		!DatumGetBool(seckill_plan_result_column(0, 1, BoolGetDatum(false))))
		seckill_orders_not_updated(DatumGetInt64(args[0]),
								   DatumGetInt64(args[1]));
	SPI_freetuptable(SPI_tuptable);
}

static SqlPlan redeem_plan = {
	.sql = "UPDATE seckill.orders"
	" SET redeemed_at = pg_catalog.clock_timestamp(), redeemed_from = state,"
	" state = 'confirmed'"
	" WHERE item_id" EQ "$1 AND order_id" EQ "$2"
	" RETURNING state" EQ "'confirmed' AND redeemed_at IS NOT NULL",
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/* Redeem the code of a locked order that is live; confirms it. */
void
seckill_coupon_redeem(int64 item_id, int64 order_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id)};

	update_coupon(&redeem_plan, args);
}

static SqlPlan note_payment_plan = {
	.sql = "UPDATE seckill.orders SET redeemed_from = 'confirmed'"
	" WHERE item_id" EQ "$1 AND order_id" EQ "$2"
	" AND redeemed_from" EQ "'pending'",
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/*
 * A locked order that was confirmed by redeeming its code is paid for: it stays
 * confirmed if the code is released.
 */
void
seckill_coupon_note_payment(int64 item_id, int64 order_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id)};

	(void) seckill_orders_run(&note_payment_plan, args);
}

static SqlPlan release_plan = {
	.sql = "UPDATE seckill.orders"
	" SET redeemed_at = NULL, redeemed_from = NULL, state = $3,"
	" limited = limited AND $3" NE "'expired'"
	" WHERE item_id" EQ "$1 AND order_id" EQ "$2"
	" RETURNING state" EQ "$3 AND redeemed_at IS NULL",
	.nargs = 3,
	.types = {INT8OID, INT8OID, STATE_TYPE}
};

/*
 * Release the code of a locked order, and move the order to a state.  A
 * pending order is announced to the maintenance worker.
 */
void
seckill_coupon_release(int64 item_id, const Coupon *coupon, OrderState to)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(coupon->order_id),
	ObjectIdGetDatum(seckill_catalog()->state[to])};

	update_coupon(&release_plan, args);
	if (to == ORDER_PENDING && !TIMESTAMP_NOT_FINITE(coupon->pay_by))
		seckill_schedule_note(coupon->pay_by);
}
