/*
 * numbered_items.c
 *		Statements on seckill.items that move units with numbers.
 *
 * They do what their counterparts in items.c do, and also move the numbers of
 * the units out of the set on the row or into it.  A statement subtracts or
 * adds the given numbers; it never writes a set that was computed from what was
 * read before.  Numbers that a row does not have are not sold, like units
 * that it does not have.
 *
 * All functions run between seckill_table_begin() and seckill_table_end(), and
 * note what they did to the row in xact/changes.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"

#include "base/number_set.h"
#include "seckill.h"
#include "table/items.h"
#include "table/numbered_items.h"
#include "table/plan.h"
#include "xact/changes.h"

/*
 * Selling
 */

static SqlPlan sell_version_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" MINUS "$2,"
	" numbers = numbers" MINUS "$4, version = version" PLUS "1"
	" WHERE item_id" EQ "$1 AND stock" GE "$2 AND version" EQ "$3"
	" AND numbers" CONTAINS "$4",
	.nargs = 4,
	.types = {INT8OID, INT4OID, INT8OID, INT8MULTIRANGEOID}
};

/*
 * Sell these numbers of the row, waiting for its lock; false if the row has
 * another version by now.
 */
bool
seckill_numbered_sell_version(int64 item_id, int64 version,
							  const int32 *numbers, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units),
		Int64GetDatum(version),
	seckill_numbers_array_datum(numbers, units)};

	return seckill_item_run_sale(&sell_version_plan, args);
}

static SqlPlan sell_locked_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" MINUS "$2,"
	" leased = leased" MINUS "$3, numbers = numbers" MINUS "$4,"
	" version = version" PLUS "1"
	" WHERE item_id" EQ "$1 AND stock" GE "$2 AND leased" GE "$3"
	" AND numbers" CONTAINS "$4",
	.nargs = 4,
	.types = {INT8OID, INT4OID, INT4OID, INT8MULTIRANGEOID}
};

/*
 * Sell these from_row numbers of a locked row, and units of its lease that the
 * caller holds.
 */
void
seckill_numbered_sell_locked(int64 item_id, const int32 *numbers,
							 int32 from_row, int32 from_lease)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(from_row),
		Int32GetDatum(from_lease),
	seckill_numbers_array_datum(numbers, from_row)};

	seckill_item_update_locked(&sell_locked_plan, args);
}

static SqlPlan sell_many_plan = {
	.sql = "UPDATE seckill.items i SET stock = i.stock" MINUS "u.units,"
	" numbers = i.numbers" MINUS "u.numbers,"
	" version = i.version" PLUS "1"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2),"
	" pg_catalog.unnest($3)) AS u(id, units, numbers)"
	" WHERE i.item_id" EQ "u.id AND i.stock" GE "u.units"
	" AND i.numbers" CONTAINS "u.numbers",
	.nargs = 3,
	.types = {INT8ARRAYOID, INT4ARRAYOID, INT8MULTIRANGEARRAYOID}
};

/*
 * Sell numbers of several locked rows, each of another item: numbers[i] are
 * the units[i] numbers of item_ids[i].
 */
void
seckill_numbered_sell_many(const int64 *item_ids, int32 *const *numbers,
						   const int32 *units, int n)
{
	Datum	   *columns[3];
	Datum		args[3];

	if (n == 1)
	{
		seckill_numbered_sell_locked(item_ids[0], numbers[0], units[0], 0);
		return;
	}
	for (int j = 0; j < (int) lengthof(columns); j++)
		columns[j] = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		columns[0][i] = Int64GetDatum(item_ids[i]);
		columns[1][i] = Int32GetDatum(units[i]);
		columns[2][i] = seckill_numbers_array_datum(numbers[i], units[i]);
	}
	args[0] = seckill_plan_int8_array(columns[0], n);
	args[1] = seckill_plan_int4_array(columns[1], n);
	args[2] = seckill_plan_multirange_array(columns[2], n);
	seckill_items_run_sales(&sell_many_plan, args, n);
}


/*
 * Leases and returns
 */

static SqlPlan lease_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" MINUS "$2,"
	" leased = leased" PLUS "$2, lease_id = $3,"
	" numbers = numbers" MINUS "$5,"
	" version = version" PLUS "1, seal = $4" XOR "supplied"
	" WHERE item_id" EQ "$1 AND stock" GE "$2 AND numbers" CONTAINS "$5"
	" AND (leased" EQ "0 OR lease_id" EQ "$3)",
	.nargs = 5,
	.types = {INT8OID, INT4OID, INT8OID, INT8OID, INT8MULTIRANGEOID}
};

/* Move these numbers of a locked row from its stock to a lease. */
void
seckill_numbered_lease(int64 item_id, const int32 *numbers, int32 units,
					   int64 lease_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units),
		Int64GetDatum(lease_id),
		seckill_item_seal_argument(item_id, lease_id),
	seckill_numbers_array_datum(numbers, units)};

	seckill_item_update_locked(&lease_plan, args);
}

static SqlPlan unlease_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" PLUS "$2,"
	" leased = leased" MINUS "$2, numbers = numbers" PLUS "$3,"
	" version = version" PLUS "1"
	" WHERE item_id" EQ "$1",
	.nargs = 3,
	.types = {INT8OID, INT4OID, INT8MULTIRANGEOID}
};

/* Move these numbers of a locked row from its lease to its stock. */
void
seckill_numbered_unlease(int64 item_id, const int32 *numbers, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units),
	seckill_numbers_array_datum(numbers, units)};

	seckill_item_update_locked(&unlease_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}

static SqlPlan add_stock_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" PLUS "$2,"
	" numbers = numbers" PLUS "$3, version = version" PLUS "1"
	" WHERE item_id" EQ "$1",
	.nargs = 3,
	.types = {INT8OID, INT4OID, INT8MULTIRANGEOID}
};

/* Return these numbers of orders that gave them up to a locked row's stock. */
void
seckill_numbered_add_stock(int64 item_id, const int32 *numbers, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units),
	seckill_numbers_array_datum(numbers, units)};

	seckill_item_update_locked(&add_stock_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}

static SqlPlan close_lease_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" PLUS "$2,"
	" leased = 0, lease_id = NULL, numbers = numbers" PLUS "$4,"
	" version = version" PLUS "1, seal = $3" XOR "supplied"
	" WHERE item_id" EQ "$1",
	.nargs = 4,
	.types = {INT8OID, INT4OID, INT8OID, INT8MULTIRANGEOID}
};

/*
 * Close the lease of a locked row: return the numbers of the set to the stock,
 * and count the rest of it as sold.
 */
void
seckill_numbered_close_lease(int64 item_id, const NumberSet *set)
{
	Datum		args[] = {Int64GetDatum(item_id),
		Int32GetDatum((int32) seckill_numbers_count(set)),
		seckill_item_seal_argument(item_id, 0),
	seckill_numbers_datum(set)};

	seckill_item_update_locked(&close_lease_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}


/*
 * Supply
 */

static SqlPlan supply_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" PLUS "$2,"
	" numbers = numbers" PLUS "$4, supplied = supplied" PLUS "$2,"
	" version = version" PLUS "1, seal = $3" XOR "(supplied" PLUS "$2)"
	" WHERE item_id" EQ "$1",
	.nargs = 4,
	.types = {INT8OID, INT4OID, INT8OID, INT8MULTIRANGEOID}
};

/*
 * Put new units, numbered from first on, on sale on a locked row.  The last
 * number is at most PG_INT32_MAX.
 */
void
seckill_numbered_supply(int64 item_id, const ItemRow *row, int32 first,
						int32 units)
{
	NumberSet  *set = seckill_numbers_make();
	Datum		args[4];

	seckill_numbers_append(set, first, first + units - 1);
	args[0] = Int64GetDatum(item_id);
	args[1] = Int32GetDatum(units);
	args[2] = seckill_item_seal_argument(item_id, row->lease_id);
	args[3] = seckill_numbers_datum(set);
	seckill_item_update_locked(&supply_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}

static SqlPlan hide_plan = {
	.sql = "UPDATE seckill.items SET off_sale = off_sale" PLUS "$2,"
	" version = version" PLUS "1"
	" WHERE item_id" EQ "$1",
	.nargs = 2,
	.types = {INT8OID, INT8MULTIRANGEOID}
};

/* Add numbers to a locked row, but not on sale. */
void
seckill_numbered_hide(int64 item_id, const NumberSet *set)
{
	Datum		args[] = {Int64GetDatum(item_id), seckill_numbers_datum(set)};

	seckill_item_update_locked(&hide_plan, args);
}

static SqlPlan exchange_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" PLUS "$2,"
	" numbers = numbers" PLUS "$3" MINUS "$4, supplied = supplied" PLUS "$2,"
	" version = version" PLUS "1,"
	" seal = seal" XOR "supplied" XOR "(supplied" PLUS "$2)"
	" WHERE item_id" EQ "$1 AND numbers" CONTAINS "$4",
	.nargs = 4,
	.types = {INT8OID, INT4OID, INT8MULTIRANGEOID, INT8MULTIRANGEOID}
};

/*
 * Add numbers that another node has sent to a locked row, and take out those
 * that are sent to another node.
 */
void
seckill_numbered_exchange(int64 item_id, const NumberSet *received,
						  const NumberSet *sent)
{
	Datum		args[] = {Int64GetDatum(item_id),
		Int32GetDatum((int32) (seckill_numbers_count(received) -
							   seckill_numbers_count(sent))),
		seckill_numbers_datum(received), seckill_numbers_datum(sent)};

	seckill_item_update_locked(&exchange_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}

static SqlPlan overwrite_plan = {
	.sql = "UPDATE seckill.items SET stock = $2, numbers = $3, off_sale = $4,"
	" supplied = $5, version = version" PLUS "1, seal = $6" XOR "$5"
	" WHERE item_id" EQ "$1",
	.nargs = 6,
	.types = {INT8OID, INT4OID, INT8MULTIRANGEOID, INT8MULTIRANGEOID, INT8OID,
	INT8OID}
};

/*
 * After a restore: write which numbers a locked row has on sale, and off sale,
 * of so many that this node has.
 */
void
seckill_numbered_overwrite(int64 item_id, const ItemRow *row,
						   const NumberSet *on_sale, int64 all)
{
	Datum		args[] = {Int64GetDatum(item_id),
		Int32GetDatum((int32) seckill_numbers_count(on_sale)),
		seckill_numbers_datum(on_sale), seckill_numbers_datum(row->off_sale),
		Int64GetDatum(all - seckill_numbers_count(row->off_sale)),
	seckill_item_seal_argument(item_id, row->lease_id)};

	seckill_item_update_locked(&overwrite_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}

static SqlPlan release_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" PLUS "$2,"
	" numbers = numbers" PLUS "$4, off_sale = off_sale" MINUS "$4,"
	" supplied = supplied" PLUS "$2, version = version" PLUS "1,"
	" seal = $3" XOR "(supplied" PLUS "$2)"
	" WHERE item_id" EQ "$1 AND off_sale" CONTAINS "$4",
	.nargs = 4,
	.types = {INT8OID, INT4OID, INT8OID, INT8MULTIRANGEOID}
};

/*
 * Put numbers of a locked row that are off sale on sale.  Raises an error if
 * any of them is not off sale, or if the units have no numbers.
 */
void
seckill_numbered_release(int64 item_id, const ItemRow *row,
						 const NumberSet *set)
{
	Datum		args[] = {Int64GetDatum(item_id),
		Int32GetDatum((int32) seckill_numbers_count(set)),
		seckill_item_seal_argument(item_id, row->lease_id),
	seckill_numbers_datum(set)};

	if (!seckill_item_run_sale(&release_plan, args))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("units of item " INT64_FORMAT " that are to be released are not off sale",
						item_id),
				 errhint("Each number can be released once. Look at off_sale of the item, and at first_unit and units of its releases.")));
	seckill_change_note_row(item_id, ROW_CHANGED);
}

static SqlPlan withdraw_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" MINUS "$2,"
	" leased = leased" MINUS "$3, numbers = numbers" MINUS "$4,"
	" off_sale = off_sale" PLUS "$5,"
	" supplied = supplied" MINUS "$2" MINUS "$3,"
	" version = version" PLUS "1,"
	" seal = $6" XOR "(supplied" MINUS "$2" MINUS "$3)"
	" WHERE item_id" EQ "$1 AND stock" GE "$2 AND leased" GE "$3"
	" AND numbers" CONTAINS "$4",
	.nargs = 6,
	.types = {INT8OID, INT4OID, INT4OID, INT8MULTIRANGEOID, INT8MULTIRANGEOID,
	INT8OID}
};

/*
 * Withdraw units of a locked row from sale for good: numbers of its stock, and
 * numbers of its lease that the caller holds.
 */
void
seckill_numbered_withdraw(int64 item_id, const ItemRow *row,
						  const NumberSet *from_row,
						  const NumberSet *from_lease)
{
	NumberSet  *all = seckill_numbers_make();
	Datum		args[6];

	seckill_numbers_merge(all, from_row);
	seckill_numbers_merge(all, from_lease);
	args[0] = Int64GetDatum(item_id);
	args[1] = Int32GetDatum((int32) seckill_numbers_count(from_row));
	args[2] = Int32GetDatum((int32) seckill_numbers_count(from_lease));
	args[3] = seckill_numbers_datum(from_row);
	args[4] = seckill_numbers_datum(all);
	args[5] = seckill_item_seal_argument(item_id, row->lease_id);
	seckill_item_update_locked(&withdraw_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}

static SqlPlan strike_plan = {
	.sql = "UPDATE seckill.items SET off_sale = off_sale" PLUS "$2,"
	" supplied = supplied" MINUS "$3, version = version" PLUS "1,"
	" seal = seal" XOR "supplied" XOR "(supplied" MINUS "$3)"
	" WHERE item_id" EQ "$1",
	.nargs = 3,
	.types = {INT8OID, INT8MULTIRANGEOID, INT8OID}
};

/* Take numbers of an item, whose orders are deleted, out of the books. */
static void
strike(int64 item_id, Datum numbers, Datum count)
{
	Datum		args[] = {Int64GetDatum(item_id), numbers, count};

	seckill_item_update_locked(&strike_plan, args);
}

/*
 * Take the numbers of the orders that a DELETE has deleted out of the books of
 * their items; waits for the rows of the items, in the order of their ids.
 */
void
seckill_numbered_strike(TriggerData *trigger)
{
	SPITupleTable *deleted;
	uint64		n;

	if (SPI_register_trigger_data(trigger) != SPI_OK_TD_REGISTER ||
		SPI_execute("SELECT item_id, pg_catalog.range_agg("
					"pg_catalog.int8range(unit, unit::pg_catalog.int8, '[]')),"
					" pg_catalog.count(*) FROM deleted WHERE unit IS NOT NULL"
					" GROUP BY item_id ORDER BY item_id", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "deleted orders could not be read");
	deleted = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		Datum		values[3];
		bool		nulls[3];

		heap_deform_tuple(deleted->vals[i], deleted->tupdesc, values, nulls);
		strike(DatumGetInt64(values[0]), values[1], values[2]);
	}
	SPI_freetuptable(deleted);
}
