/*
 * number_sql.c
 *		Sets of unit numbers: how many numbers one has, whether the sets of an
 *		item agree with its stock, and which numbers a node has of a split item.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/number_set.h"
#include "seckill.h"
#include "table/item_row.h"
#include "table/plan.h"
#include "table/shares.h"

PG_FUNCTION_INFO_V1(seckill_count);
PG_FUNCTION_INFO_V1(seckill_check_numbers);
PG_FUNCTION_INFO_V1(seckill_own_numbers);

/*
 * seckill_count(numbers int8multirange) returns bigint
 *
 * How many numbers the set has.  Errors: a number that no unit can have.
 */
Datum
seckill_count(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(seckill_numbers_count(seckill_numbers_read(PG_GETARG_DATUM(0))));
}

/*
 * seckill_check_numbers(numbered boolean, numbers int8multirange,
 *						 off_sale int8multirange, stock integer)
 *		returns boolean
 *
 * The constraint of seckill.items that ties the numbers to the stock; each
 * purchase from the row evaluates it.  Returns true or raises an error, which
 * can say more than the violation of a constraint does.
 */
Datum
seckill_check_numbers(PG_FUNCTION_ARGS)
{
	bool		numbered = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);
	int64		count;

	if (!numbered && PG_ARGISNULL(1))
		PG_RETURN_BOOL(true);
	if (!numbered || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("numbered of an item cannot be changed"),
				 errhint("Insert another item, and end the sale of this one.")));
	count = seckill_numbers_count(seckill_numbers_read(PG_GETARG_DATUM(1)));
	if (!PG_ARGISNULL(3) && PG_GETARG_INT32(3) >= 0 &&
		PG_GETARG_INT32(3) != count)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stock and numbers of an item whose units have numbers cannot be changed by hand"),
				 errdetail("The stock would be %d, of " INT64_FORMAT " numbers.",
						   PG_GETARG_INT32(3), count),
				 errhint("Use seckill_restock(), seckill_add_units() or seckill_close().")));
	PG_RETURN_BOOL(true);
}

/*
 * seckill_own_numbers(item_id bigint, split_over integer[], known bigint)
 *		returns int8multirange
 *
 * The numbers that this node has of an item with numbers: on the row, off sale,
 * leased or in orders.  known is how many the row has, which is supplied plus
 * the numbers off sale.
 */
Datum
seckill_own_numbers(PG_FUNCTION_ARGS)
{
	NumberSet  *all = seckill_numbers_make();
	SplitNodes	split = {0};
	TableCaller caller;
	Datum		numbers;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	if (!PG_ARGISNULL(1))
		seckill_item_read_split(PG_GETARG_ARRAYTYPE_P(1), &split);
	if (split.n > 0)
	{
		seckill_table_begin(&caller);
		numbers = seckill_shares_numbers(PG_GETARG_INT64(0), &split,
										 PG_GETARG_INT64(2), false);
		seckill_table_end(&caller);
		return numbers;
	}
	if (PG_GETARG_INT64(2) > 0)
		seckill_numbers_append(all, 1, (int32) PG_GETARG_INT64(2));
	PG_RETURN_DATUM(seckill_numbers_datum(all));
}
