/*
 * item.c
 *		Calls on one item for those who run a sale: create and change it, put
 *		units on sale and take them off, look at it and at its orders.
 *
 * They are what a back office needs instead of writing whole rows: a row that
 * was read before a purchase and is saved after it would undo the purchase.
 * Each changes what it names and nothing else, under the lock on the item's
 * row, so it is true of the row as it is then.
 *
 * Units are taken off sale like units are bought in mode pessimistic, but
 * without an order: from the row first, and what the row lacks from its lease.
 *
 * The two calls that look write nothing, wait for no row, work on a standby,
 * and see the newest committed rows and our own.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "api/item_json.h"
#include "api/result.h"
#include "base/check.h"
#include "sale/item.h"
#include "table/item_settings.h"
#include "table/orders.h"
#include "table/plan.h"

PG_FUNCTION_INFO_V1(seckill_put_item);
PG_FUNCTION_INFO_V1(seckill_restock);
PG_FUNCTION_INFO_V1(seckill_set_available);
PG_FUNCTION_INFO_V1(seckill_write_off);
PG_FUNCTION_INFO_V1(seckill_item);
PG_FUNCTION_INFO_V1(seckill_order);


/*
 * Create and change
 */

/*
 * seckill_put_item(item_id, settings) returns boolean
 *
 * Create an item with the settings that are named, or change these of one that
 * exists and leave all else as it is.  True if it was created.
 */
Datum
seckill_put_item(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	Change		change;
	int64		item_id;
	bool		created;

	seckill_check_writable("seckill_put_item()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "settings");
	item_id = PG_GETARG_INT64(0);
	seckill_json_read_settings(PG_GETARG_JSONB_P(1), &change);
	seckill_table_begin(&caller);
	created = !seckill_item_exists(item_id) && seckill_item_create(item_id, &change);
	if (!created)
		seckill_item_change(item_id, &change);
	seckill_table_end(&caller);
	PG_RETURN_BOOL(created);
}


/*
 * Units
 */

/* The arguments item_id and units, which must fit the columns of items. */
static int32
read_units(FunctionCallInfo fcinfo)
{
	int64		units;

	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "units");
	units = PG_GETARG_INT64(1);
	if (units < -PG_INT32_MAX || units > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("units must be between %d and %d", -PG_INT32_MAX,
						PG_INT32_MAX),
				 errdetail("It is " INT64_FORMAT ".", units)));
	return (int32) units;
}

/*
 * seckill_restock(item_id, units) returns bigint
 *
 * Put units on sale or, if negative, take them off.  Returns how many can be
 * bought then.
 */
Datum
seckill_restock(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	int32		units;
	int64		left;

	seckill_check_writable("seckill_restock()");
	units = read_units(fcinfo);
	seckill_table_begin(&caller);
	left = seckill_item_restock(PG_GETARG_INT64(0), units);
	seckill_table_end(&caller);
	PG_RETURN_INT64(left);
}

/*
 * seckill_set_available(item_id, units) returns bigint
 *
 * Exactly so many units are left when the caller's transaction commits.  Waits
 * for the transactions that hold units, as it is not known what becomes of
 * these.  Returns how many units were put on sale, or, negative, taken off.
 */
Datum
seckill_set_available(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	int32		units;
	int64		added;

	seckill_check_writable("seckill_set_available()");
	units = read_units(fcinfo);
	if (units < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("units must not be negative"),
				 errdetail("It is %d.", units),
				 errhint("To take units off sale, call seckill_restock() with a negative number.")));
	seckill_table_begin(&caller);
	added = seckill_item_set_available(PG_GETARG_INT64(0), units);
	seckill_table_end(&caller);
	PG_RETURN_INT64(added);
}

/*
 * seckill_write_off(item_id, units) returns bigint
 *
 * Orders have left the table, to an archive: their units leave the books.  Also
 * for what an audit shows that has been looked into.  Returns the units
 * supplied.
 */
Datum
seckill_write_off(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	int64		supplied;

	seckill_check_writable("seckill_write_off()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "units");
	seckill_table_begin(&caller);
	supplied = seckill_item_write_off(PG_GETARG_INT64(0), PG_GETARG_INT64(1));
	seckill_table_end(&caller);
	PG_RETURN_INT64(supplied);
}


/*
 * Looking at it
 */

/*
 * seckill_item(item_id) returns (the settings, state, available, unsettled)
 *
 * Counts no orders, so what is left of a lease that no memory knows is not
 * known: at most unsettled units.
 */
Datum
seckill_item(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	ItemDetails item;
	Whereabouts units;
	Datum		values[ITEM_SETTINGS + 3];
	bool		nulls[ITEM_SETTINGS + 3] = {0};

	PreventCommandIfParallelMode("seckill_item()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_table_begin(&caller);
	seckill_item_look(PG_GETARG_INT64(0), &item, &units);
	seckill_table_end(&caller);
	memcpy(values, item.settings, sizeof(item.settings));
	memcpy(nulls, item.nulls, sizeof(item.nulls));
	values[ITEM_SETTINGS] = CStringGetTextDatum(seckill_item_state_of(&item, &units));
	values[ITEM_SETTINGS + 1] = Int64GetDatum(units.available);
	values[ITEM_SETTINGS + 2] = Int32GetDatum(units.unsettled);
	return seckill_result_row(fcinfo, values, nulls);
}

/*
 * seckill_order(item_id, order_id)
 *		returns (user_id, quantity, state, created_at, pay_by, mode, request_id)
 */
Datum
seckill_order(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	Datum		values[ORDER_DETAILS];
	bool		nulls[ORDER_DETAILS];

	PreventCommandIfParallelMode("seckill_order()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "order_id");
	seckill_table_begin(&caller);
	if (!seckill_orders_read(PG_GETARG_INT64(0), PG_GETARG_INT64(1),
							 values, nulls))
		seckill_unknown_order(PG_GETARG_INT64(0), PG_GETARG_INT64(1));
	seckill_table_end(&caller);
	return seckill_result_row(fcinfo, values, nulls);
}
