/*
 * order_sql.c
 *		seckill_confirm() and seckill_cancel(): the calls that end the payment of
 *		an order.
 */
#include "postgres.h"

#include "base/catalog.h"
#include "base/check.h"
#include "sale/order.h"
#include "seckill.h"
#include "table/plan.h"
#include "table/relation.h"

PG_FUNCTION_INFO_V1(seckill_confirm);
PG_FUNCTION_INFO_V1(seckill_cancel);

/* Raise an error if the transaction cannot write or an argument is NULL. */
static void
check_call(FunctionCallInfo fcinfo, const char *function)
{
	seckill_check_writable(function);
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "order_id");
}

/*
 * seckill_confirm(item_id bigint, order_id bigint)
 *		returns seckill_order_state
 *
 * Confirms an order that is paid.  Returns "confirmed", also if it was
 * confirmed before.  An expired order is sold again if units are left and the
 * limit of its user allows it; otherwise the answer is "expired".
 *
 * Waits for the locks of the order and, if it has expired, of the item.
 * Errors: a NULL argument, an unknown or cancelled order.
 */
Datum
seckill_confirm(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	OrderState	state;

	check_call(fcinfo, "seckill_confirm()");
	seckill_table_begin(&caller);
	seckill_relation_lock_items();
	state = seckill_order_confirm(PG_GETARG_INT64(0), PG_GETARG_INT64(1));
	seckill_table_end(&caller);
	PG_RETURN_OID(seckill_catalog()->state[state]);
}

/*
 * seckill_cancel(item_id bigint, order_id bigint, refund boolean)
 *		returns seckill_order_state
 *
 * Cancels a pending order and returns its units to the row of the item.
 * Returns "cancelled", also if it was cancelled before.  A confirmed order is
 * cancelled only if refund is true, so that a cancellation does not undo a
 * payment that came first.
 *
 * Waits for the locks of the order and the item.  Errors: a NULL argument, an
 * unknown or expired order, a confirmed order without refund.
 */
Datum
seckill_cancel(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	OrderState	state;

	check_call(fcinfo, "seckill_cancel()");
	seckill_check_argument(PG_ARGISNULL(2), "refund");
	seckill_table_begin(&caller);
	seckill_relation_lock_items();
	state = seckill_order_cancel(PG_GETARG_INT64(0), PG_GETARG_INT64(1),
								 PG_GETARG_BOOL(2));
	seckill_table_end(&caller);
	PG_RETURN_OID(seckill_catalog()->state[state]);
}
