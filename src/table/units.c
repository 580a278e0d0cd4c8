/*
 * units.c
 *		Statements on seckill.units, the values of units with numbers.
 *
 * All functions run between seckill_table_begin() and seckill_table_end().
 *
 * No code gets into an error message or the log: codes that are there already
 * are looked up and left out, so that no unique index reports one.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/catalog.h"
#include "base/fault.h"
#include "table/plan.h"
#include "table/units.h"

/* Units that one statement writes, or codes that it looks up. */
#define CHUNK	10000

/*
 * Writing
 */

static SqlPlan insert_plan = {
	.sql = "INSERT INTO seckill.units (item_id, unit, code, prize, amount)"
	" SELECT $1, v.unit, v.code, v.prize, v.amount FROM ROWS FROM ("
	"pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),"
	" pg_catalog.unnest($5)) AS v(unit, code, prize, amount)"
	" ON CONFLICT DO NOTHING",
	.nargs = 5,
	.types = {INT8OID, INT4ARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT8ARRAYOID}
};

/* Insert at most CHUNK units; returns how many it inserted. */
static uint64
insert_chunk(int64 item_id, const int32 *units, const UnitValue *values, int n)
{
	Datum	   *columns[4];
	bool	   *nulls[4];
	Datum		args[5];

	for (int j = 0; j < (int) lengthof(columns); j++)
	{
		columns[j] = palloc(n * sizeof(Datum));
		nulls[j] = palloc0(n * sizeof(bool));
	}
	for (int i = 0; i < n; i++)
	{
		columns[0][i] = Int32GetDatum(units[i]);
		columns[1][i] = PointerGetDatum(values[i].code);
		nulls[1][i] = values[i].code == NULL;
		columns[2][i] = Int32GetDatum(values[i].prize);
		nulls[2][i] = !values[i].has_prize;
		columns[3][i] = Int64GetDatum(values[i].amount);
		nulls[3][i] = !values[i].has_amount;
	}
	args[0] = Int64GetDatum(item_id);
	args[1] = seckill_plan_int4_array(columns[0], n);
	args[2] = seckill_plan_array_with_nulls(columns[1], nulls[1], n, TEXTOID,
											-1, false, TYPALIGN_INT);
	args[3] = seckill_plan_array_with_nulls(columns[2], nulls[2], n, INT4OID,
											sizeof(int32), true,
											TYPALIGN_INT);
	args[4] = seckill_plan_array_with_nulls(columns[3], nulls[3], n, INT8OID,
											sizeof(int64), FLOAT8PASSBYVAL,
											TYPALIGN_DOUBLE);
	return seckill_plan_run_as(&insert_plan, args,
							   seckill_catalog()->units_owner);
}

/*
 * Write what n numbers are worth.  Raises an error if one was not written:
 * another session has written its number or its code meanwhile, or a trigger
 * has skipped it.
 */
void
seckill_units_insert(int64 item_id, const int32 *units,
					 const UnitValue *values, int n)
{
	for (int i = 0; i < n; i += CHUNK)
	{
		int			size = Min(n - i, CHUNK);
		MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
													  "seckill units",
													  ALLOCSET_DEFAULT_SIZES);
		MemoryContext old = MemoryContextSwitchTo(context);
		uint64		written = insert_chunk(item_id, units + i, values + i, size);

		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
		CHECK_FOR_INTERRUPTS();
		if (written != (uint64) size)
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
					 errmsg("units of item " INT64_FORMAT " were not inserted",
							item_id),
					 errhint("Look for a trigger or rule on seckill.units that skips rows, or for a session that writes units of this item by hand.")));
		SECKILL_FAULT("values written");
	}
}

static SqlPlan delete_plan = {
	.sql = "DELETE FROM seckill.units WHERE item_id" EQ "$1",
	.nargs = 1,
	.types = {INT8OID}
};

/* Delete the units of an item that is being deleted. */
void
seckill_units_delete(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	(void) seckill_plan_run_as(&delete_plan, args,
							   seckill_catalog()->units_owner);
}


/*
 * Reading.  All functions see the latest committed rows and our own.
 */

static SqlPlan any_unit_plan = {
	.sql = "SELECT 1 FROM seckill.units LIMIT 1"
};

/* Does any item have a unit with a value? */
bool
seckill_units_any(void)
{
	return seckill_plan_run_latest(&any_unit_plan, NULL,
								   seckill_catalog()->units_owner) > 0;
}

static SqlPlan from_plan = {
	.sql = "SELECT 1 FROM seckill.units"
	" WHERE item_id" EQ "$1 AND unit" GE "$2 LIMIT 1",
	.nargs = 2,
	.types = {INT8OID, INT4OID}
};

/* Does a number of the item, from one on, have a value? */
bool
seckill_units_any_from(int64 item_id, int32 first)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(first)};

	return seckill_plan_run_latest(&from_plan, args,
								   seckill_catalog()->units_owner) > 0;
}

#define BETWEEN	"item_id" EQ "$1 AND unit" GE "$2 AND unit" LE "$3"

static SqlPlan count_plan = {
	.sql = "SELECT pg_catalog.count(*) FROM seckill.units WHERE " BETWEEN,
	.nargs = 3,
	.types = {INT8OID, INT4OID, INT4OID}
};

/* How many of the numbers from first to last have a value? */
int32
seckill_units_count(int64 item_id, int32 first, int32 last)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(first),
	Int32GetDatum(last)};
	int64		count;

	(void) seckill_plan_run_latest(&count_plan, args, seckill_catalog()->units_owner);
	count = DatumGetInt64(seckill_plan_result_column(0, 1, Int64GetDatum(0)));
	SPI_freetuptable(SPI_tuptable);
	return (int32) count;
}

static SqlPlan read_plan = {
	.sql = "SELECT unit, prize, amount FROM seckill.units WHERE " BETWEEN
	" ORDER BY unit LIMIT $4",
	.nargs = 4,
	.types = {INT8OID, INT4OID, INT4OID, INT8OID}
};

/*
 * Read the prizes and amounts of numbers from first to last that have a value,
 * in ascending order, at most max; returns how many.  A prize or amount that is
 * NULL is 0.
 */
int
seckill_units_read(int64 item_id, int32 first, int32 last, UnitPrize *units,
				   int max)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(first),
	Int32GetDatum(last), Int64GetDatum(max)};
	int			n = (int) seckill_plan_run_latest(&read_plan, args,
												  seckill_catalog()->units_owner);

	for (int i = 0; i < n; i++)
	{
		units[i].unit = DatumGetInt32(seckill_plan_result_column(i, 1, Int32GetDatum(0)));
		units[i].prize = DatumGetInt32(seckill_plan_result_column(i, 2, Int32GetDatum(0)));
		units[i].amount = DatumGetInt64(seckill_plan_result_column(i, 3, Int64GetDatum(0)));
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}
