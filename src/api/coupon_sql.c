/*
 * coupon_sql.c
 *		seckill_redeem() and seckill_release(): the calls for codes of units.
 */
#include "postgres.h"

#include "api/result.h"
#include "base/catalog.h"
#include "base/check.h"
#include "sale/place.h"
#include "scenario/coupon.h"
#include "seckill.h"
#include "table/plan.h"
#include "table/relation.h"

PG_FUNCTION_INFO_V1(seckill_redeem);
PG_FUNCTION_INFO_V1(seckill_release);

/*
 * seckill_redeem(item_id bigint, code text, user_id bigint)
 *		returns (outcome seckill_redeem_outcome, order_id bigint,
 *				 state seckill_order_state)
 *
 * Redeems the code of a unit that the user has bought; a pending order is
 * confirmed by it.  order_id and state are NULL where the answer tells nothing
 * of an order.  Waits for the lock of the order.
 *
 * Errors: a NULL argument, an unknown item or one without numbers.
 */
Datum
seckill_redeem(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	RedeemOutcome outcome;
	int64		order_id = 0;
	OrderState	state = ORDER_CONFIRMED;
	Datum		values[3];
	bool		nulls[3] = {0};

	seckill_check_writable("seckill_redeem()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "code");
	seckill_check_argument(PG_ARGISNULL(2), "user_id");
	seckill_table_begin(&caller);
	seckill_relation_lock_items();
	seckill_place_enter(PG_GETARG_INT64(0));
	outcome = seckill_coupon_try(PG_GETARG_INT64(0), PG_GETARG_TEXT_PP(1),
								 PG_GETARG_INT64(2), &order_id, &state);
	seckill_table_end(&caller);
	values[0] = ObjectIdGetDatum(seckill_catalog()->redeem_outcome[outcome]);
	values[1] = Int64GetDatum(order_id);
	values[2] = ObjectIdGetDatum(seckill_catalog()->state[state]);
	nulls[1] = nulls[2] = outcome == REDEEM_UNKNOWN ||
		outcome == REDEEM_RATE_LIMITED;
	return seckill_result_row(fcinfo, values, nulls);
}

/*
 * seckill_release(item_id bigint, order_id bigint)
 *		returns seckill_order_state
 *
 * Makes a redeemed code redeemable again, and returns the state of its order.
 * Waits for the lock of the order.
 *
 * Errors: a NULL argument, an unknown order.
 */
Datum
seckill_release(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	OrderState	state;

	seckill_check_writable("seckill_release()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "order_id");
	seckill_table_begin(&caller);
	seckill_relation_lock_items();
	seckill_place_enter(PG_GETARG_INT64(0));
	state = seckill_coupon_give_back(PG_GETARG_INT64(0), PG_GETARG_INT64(1));
	seckill_table_end(&caller);
	PG_RETURN_OID(seckill_catalog()->state[state]);
}
