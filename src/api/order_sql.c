/*
 * order_sql.c
 *		TODO
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

static void
check_call(FunctionCallInfo fcinfo, const char *function)
{
	seckill_check_writable(function);
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "order_id");
}

/*
 * seckill_confirm(item_id, order_id) returns seckill_order_state
 *
 * The order is paid.  "confirmed", also if it was before; or "expired": it was
 * paid too late, and there are no units left for it, or none that its user may
 * have besides what he has bought since.
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
 * seckill_cancel(item_id, order_id, refund) returns seckill_order_state
 *
 * "cancelled", also if it was before.  A confirmed order is cancelled with
 * refund only, so that who cancels does not undo a payment that came first.
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
