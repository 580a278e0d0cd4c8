/*
 * item_sql.c
 *		Calls on one item for the operator of a sale: create and change it, put
 *		units on sale and take them off, read it and its orders.
 *
 * An application uses them instead of saving whole rows: a row that was read
 * before a purchase and saved after it would undo the purchase.  Each call
 * changes only the columns that it names, under the row lock of the item.
 *
 * Units are taken off sale as mode "pessimistic" buys them, but without an
 * order: from the row first, and from its lease what the row lacks.
 *
 * seckill_item() and seckill_order() write nothing, wait for no row lock, work
 * on a standby, and see the latest committed rows and those of the caller's
 * own transaction.
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
#include "sale/place.h"
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
 * seckill_put_item(item_id bigint, settings jsonb) returns boolean
 *
 * Creates an item with these settings, or changes only these settings of an
 * existing item.  A null resets a setting to its default.  Returns true if the
 * item was created.
 *
 * Errors: a NULL argument, an unknown setting, a value of the wrong type or
 * outside the constraints of the table, a new item without stock, an existing
 * item with stock.
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

/* Check item_id and units; returns units, which must fit an integer column. */
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
 * seckill_restock(item_id bigint, units bigint) returns bigint
 *
 * Puts units on sale or, if units is negative, takes them off.  Returns how
 * many units can be bought afterwards.  Waits for the locks of the item, and
 * for holders if units are taken off that they hold.
 *
 * Errors: a NULL or out-of-range argument, an unknown item, fewer units on
 * sale than are taken off.
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
 * seckill_set_available(item_id bigint, units bigint) returns bigint
 *
 * Makes exactly this number of units available when the caller's transaction
 * commits.  Waits for the locks of the item and for all transactions that hold
 * units, because they may commit or abort.  Returns how many units were put on
 * sale or, if negative, taken off.
 *
 * Errors: a NULL, negative or out-of-range argument, an unknown item.
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
 * seckill_write_off(item_id bigint, units bigint) returns bigint
 *
 * Subtracts units from the supplied units of the item: those of orders that
 * were moved to an archive, or a difference that seckill_audit() shows and
 * that has been explained.  Returns the new number of supplied units.
 *
 * Errors: a NULL or out-of-range argument, an unknown item.
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
 * Reading
 */

/*
 * seckill_item(item_id bigint)
 *		returns (the settings, state text, available bigint,
 *				 unsettled integer)
 *
 * available counts the units on the row and in the cache; it is NULL for an
 * item with seats.  The call does not
 * count orders, so it does not know how many units of a lost lease are unsold:
 * unsettled is an upper bound of them.
 *
 * Errors: item_id is NULL, the item is unknown.
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
	nulls[ITEM_SETTINGS + 1] = !item.nulls[SETTING_LEGS];
	values[ITEM_SETTINGS + 2] = Int32GetDatum(units.unsettled);
	return seckill_result_row(fcinfo, values, nulls);
}

/*
 * seckill_order(item_id bigint, order_id bigint)
 *		returns (user_id, quantity, state, created_at, pay_by, mode,
 *				 request_id)
 *
 * Errors: a NULL argument, an unknown order.
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
	seckill_place_read(PG_GETARG_INT64(0));
	if (!seckill_orders_read(PG_GETARG_INT64(0), PG_GETARG_INT64(1),
							 values, nulls))
		seckill_unknown_order(PG_GETARG_INT64(0), PG_GETARG_INT64(1));
	seckill_table_end(&caller);
	return seckill_result_row(fcinfo, values, nulls);
}
