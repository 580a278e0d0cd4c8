/*
 * items.c
 *		Statements on seckill.items that move units, and change what is sold
 *		where and until when.
 *
 * All functions run between seckill_table_begin() and seckill_table_end().
 * Units move between stock, lease and buyer; each such UPDATE raises the row's
 * version.  Those that move units with numbers are in numbered_items.c.
 *
 * Each statement notes in xact/changes.c what it did to the row.  ROW_LOCKED:
 * the transaction must not wait for sessions that wait for the row.
 * ROW_CHANGED, where units may have come back to the stock: the commit is
 * announced to the cache, and until then the transaction publishes nothing
 * that it alone can see.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "base/catalog.h"
#include "base/check.h"
#include "seckill.h"
#include "shmem/stat.h"
#include "table/item_direct.h"
#include "table/item_row.h"
#include "table/items.h"
#include "table/plan.h"
#include "xact/changes.h"

/*
 * Selling
 */

/* Report that the UPDATE of a row that is there has not changed it. */
static void
not_updated(int64 item_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("item " INT64_FORMAT " was not updated", item_id),
			 errhint("Look for a trigger or rule on seckill.items that skips rows, or that changes the item before it is updated.")));
}

/*
 * Run an UPDATE of a row that the caller has locked; an error if it does not
 * update the row.
 */
void
seckill_item_update_locked(SqlPlan *plan, Datum *args)
{
	if (seckill_plan_run(plan, args) != 1)
		not_updated(DatumGetInt64(args[0]));
	seckill_change_note_row(DatumGetInt64(args[0]), ROW_LOCKED);
}

/*
 * Change a row that the caller has locked: directly, or by the UPDATE that does
 * the same.
 */
static void
change_locked(const ItemChange *change, SqlPlan *plan, Datum *args)
{
	if (seckill_item_change_direct(change) == DIRECT_DONE)
		seckill_change_note_row(change->item_id, ROW_LOCKED);
	else
	{
		seckill_stat_count(SECKILL_STAT_SQL_WRITES, 1);
		seckill_item_update_locked(plan, args);
	}
}

/* Run an UPDATE that sells; false if it found too few units. */
bool
seckill_item_run_sale(SqlPlan *plan, Datum *args)
{
	bool		sold = seckill_plan_run(plan, args) > 0;

	if (sold)
		seckill_change_note_row(DatumGetInt64(args[0]), ROW_LOCKED);
	return sold;
}

/*
 * Sell units of a row, waiting for its lock: directly, or by the UPDATE that
 * does the same.  Returns false if it found too few units.
 */
static bool
sell(const ItemChange *change, SqlPlan *plan, Datum *args)
{
	switch (seckill_item_change_direct(change))
	{
		case DIRECT_DONE:
			seckill_change_note_row(change->item_id, ROW_LOCKED);
			return true;
		case DIRECT_REFUSED:
			return false;
		case DIRECT_NEEDS_SQL:
			break;
	}
	seckill_stat_count(SECKILL_STAT_SQL_WRITES, 1);
	return seckill_item_run_sale(plan, args);
}

/* an item with numbers may have taken the place of the one that was read */
#define SELL_UNITS \
	"UPDATE seckill.items SET stock = stock" MINUS "$2," \
	" version = version" PLUS "1" \
	" WHERE item_id" EQ "$1 AND stock" GE "$2 AND NOT numbered" \
	" AND place IS NULL"

static SqlPlan sell_plan = {
	.sql = SELL_UNITS,
	.nargs = 2,
	.types = {INT8OID, INT4OID}
};

/*
 * Sell units of the row's stock, waiting for its lock; false if there are
 * fewer.
 */
bool
seckill_item_sell(int64 item_id, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units)};
	ItemChange	change = {
		.item_id = item_id,
		.stock = -units,
		.version = ANY_VERSION,
		.must_be_here = true
	};

	return sell(&change, &sell_plan, args);
}

static SqlPlan sell_version_plan = {
	.sql = SELL_UNITS " AND version" EQ "$3",
	.nargs = 3,
	.types = {INT8OID, INT4OID, INT8OID}
};

/*
 * Sell units of the row's stock, waiting for its lock; false if the row has
 * another version by now, or too few units.
 */
bool
seckill_item_sell_version(int64 item_id, int32 units, int64 version)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units),
	Int64GetDatum(version)};
	ItemChange	change = {
		.item_id = item_id,
		.stock = -units,
		.version = version,
		.must_be_here = true
	};

	return sell(&change, &sell_version_plan, args);
}

static SqlPlan sell_locked_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" MINUS "$2,"
	" leased = leased" MINUS "$3, version = version" PLUS "1"
	" WHERE item_id" EQ "$1 AND stock" GE "$2 AND leased" GE "$3",
	.nargs = 3,
	.types = {INT8OID, INT4OID, INT4OID}
};

/*
 * Sell units of the stock of a locked row, and units of its lease that the
 * caller holds.
 */
void
seckill_item_sell_locked(int64 item_id, int32 from_row, int32 from_lease)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(from_row),
	Int32GetDatum(from_lease)};
	ItemChange	change = {
		.item_id = item_id,
		.stock = -from_row,
		.leased = -from_lease,
		.version = ANY_VERSION
	};

	change_locked(&change, &sell_locked_plan, args);
}

/*
 * Run an UPDATE of n rows that the caller has locked; an error if it does not
 * update all of them.
 */
void
seckill_items_run_sales(SqlPlan *plan, Datum *args, int n)
{
	uint64		processed;

	seckill_change_begin_own(0);
	processed = seckill_plan_run_many(plan, args);
	seckill_change_end_own();
	if (processed != (uint64) n)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("items of a batch were not updated"),
				 errhint("Look for a trigger or rule on seckill.items that skips rows, or that changes the item before it is updated.")));
}

static SqlPlan sell_many_plan = {
	.sql = "UPDATE seckill.items i SET stock = i.stock" MINUS "u.units,"
	" version = i.version" PLUS "1"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))"
	" AS u(id, units)"
	" WHERE i.item_id" EQ "u.id AND i.stock" GE "u.units",
	.nargs = 2,
	.types = {INT8ARRAYOID, INT4ARRAYOID}
};

/* Sell units of the stock of locked rows with one statement. */
static void
sell_many(const int64 *item_ids, const int32 *units, int n)
{
	Datum	   *columns[2];
	Datum		args[2];

	columns[0] = palloc(n * sizeof(Datum));
	columns[1] = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		columns[0][i] = Int64GetDatum(item_ids[i]);
		columns[1][i] = Int32GetDatum(units[i]);
	}
	args[0] = seckill_plan_int8_array(columns[0], n);
	args[1] = seckill_plan_int4_array(columns[1], n);
	seckill_items_run_sales(&sell_many_plan, args, n);
	seckill_stat_count(SECKILL_STAT_SQL_WRITES, 1);
}

/* Sell units of the stock of several locked rows, each of another item. */
void
seckill_items_sell(const int64 *item_ids, const int32 *units, int n)
{
	int			done = 0;

	while (done < n)
	{
		ItemChange	change = {
			.item_id = item_ids[done],
			.stock = -units[done],
			.version = ANY_VERSION
		};

		if (seckill_item_change_direct(&change) != DIRECT_DONE)
			break;
		done++;
	}
	if (done < n)
		sell_many(item_ids + done, units + done, n - done);
}

static SqlPlan overwrite_plan = {
	.sql = "UPDATE seckill.items SET stock = $2, version = version" PLUS "1"
	" WHERE item_id" EQ "$1 AND place IS NULL",
	.nargs = 2,
	.types = {INT8OID, INT4OID}
};

/*
 * Write back a stock computed from what was read, whatever the row has by now:
 * the mistake of mode none.
 */
void
seckill_item_overwrite(int64 item_id, int32 stock)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(stock)};
	ItemRow		row;

	if (seckill_plan_run(&overwrite_plan, args) == 0)
	{
		if (!seckill_item_read_latest(item_id, &row))
			seckill_unknown_item(item_id);
		if (row.rules.place != PLACE_HERE)
			seckill_item_elsewhere(item_id, row.rules.place);
		not_updated(item_id);
	}
	seckill_change_note_row(item_id, ROW_CHANGED);
}


/*
 * The seal of a row, a number that tells a row that the extension has written
 * from one that was made up; api/triggers.c checks it.  It is no secret, and
 * the same on every platform, as rows are dumped on one and restored on
 * another.  It covers the item and its lease, by the finaliser of SplitMix64,
 * and the units supplied, by XOR, so that a statement can seal what it reads.
 */
static uint64
scramble(uint64 x)
{
	x = (x ^ (x >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* The seal of a row with these columns; a lease_id of 0 stands for NULL. */
int64
seckill_item_seal(int64 item_id, int64 lease_id, int64 supplied)
{
	uint64		x = scramble((uint64) item_id + UINT64CONST(0x9e3779b97f4a7c15));

	return (int64) (scramble(x + (uint64) lease_id) ^ (uint64) supplied);
}

/* The argument of a statement that adds the units supplied to the seal. */
Datum
seckill_item_seal_argument(int64 item_id, int64 lease_id)
{
	return Int64GetDatum(seckill_item_seal(item_id, lease_id, 0));
}


/*
 * Leases and supply
 */

static SqlPlan lease_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" MINUS "$2,"
	" leased = leased" PLUS "$2, lease_id = $3,"
	" version = version" PLUS "1, seal = $4" XOR "supplied"
	" WHERE item_id" EQ "$1 AND stock" GE "$2"
	" AND (leased" EQ "0 OR lease_id" EQ "$3)",
	.nargs = 4,
	.types = {INT8OID, INT4OID, INT8OID, INT8OID}
};

/* Move units of a locked row from its stock to a lease. */
void
seckill_item_lease(int64 item_id, int32 units, int64 lease_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units),
	Int64GetDatum(lease_id), seckill_item_seal_argument(item_id, lease_id)};
	ItemChange	change = {
		.item_id = item_id,
		.stock = -units,
		.leased = units,
		.lease_id = lease_id,
		.seal = seckill_item_seal(item_id, lease_id, 0),
		.version = ANY_VERSION
	};

	change_locked(&change, &lease_plan, args);
}

static SqlPlan unlease_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" PLUS "$2,"
	" leased = leased" MINUS "$2, version = version" PLUS "1"
	" WHERE item_id" EQ "$1",
	.nargs = 2,
	.types = {INT8OID, INT4OID}
};

/* Move units of a locked row from its lease to its stock. */
void
seckill_item_unlease(int64 item_id, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units)};
	ItemChange	change = {
		.item_id = item_id,
		.stock = units,
		.leased = -units,
		.version = ANY_VERSION
	};

	change_locked(&change, &unlease_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}

static SqlPlan add_stock_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" PLUS "$2,"
	" version = version" PLUS "1"
	" WHERE item_id" EQ "$1",
	.nargs = 2,
	.types = {INT8OID, INT4OID}
};

/* Return units of orders that are no longer live to a locked row's stock. */
void
seckill_item_add_stock(int64 item_id, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units)};
	ItemChange	change = {
		.item_id = item_id,
		.stock = units,
		.version = ANY_VERSION
	};

	change_locked(&change, &add_stock_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}

static SqlPlan close_lease_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" PLUS "$2,"
	" leased = 0, lease_id = NULL, version = version" PLUS "1,"
	" seal = $3" XOR "supplied"
	" WHERE item_id" EQ "$1",
	.nargs = 3,
	.types = {INT8OID, INT4OID, INT8OID}
};

/*
 * Close the lease of a locked row: return the given units to the stock, and
 * count the rest of it as sold.
 */
void
seckill_item_close_lease(int64 item_id, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units),
	seckill_item_seal_argument(item_id, 0)};

	seckill_item_update_locked(&close_lease_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}

void
seckill_item_too_many_supplied(int64 item_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("item " INT64_FORMAT " would have too many units", item_id),
			 errdetail("At most %d can be supplied, sold ones included.",
					   PG_INT32_MAX),
			 errhint("Move orders to an archive, and take their units out of the books with seckill_write_off().")));
}

static SqlPlan add_supply_plan = {
	.sql = "UPDATE seckill.items SET supplied = supplied" PLUS "$2,"
	" version = version" PLUS "1,"
	" seal = seal" XOR "supplied" XOR "(supplied" PLUS "$2)"
	" WHERE item_id" EQ "$1 RETURNING supplied",
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/*
 * Add to the units ever supplied to an item; a negative number subtracts.
 * Raises an error if they would exceed PG_INT32_MAX, because all of them can
 * come back to the stock of the row.  Does nothing if the row has been
 * deleted.
 */
void
seckill_item_add_supply(int64 item_id, int64 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(units)};
	ItemRow		row;

	if (seckill_plan_run(&add_supply_plan, args) == 0)
	{
		if (seckill_item_read_latest(item_id, &row))
			not_updated(item_id);
		return;
	}
	if (units > 0 &&
		DatumGetInt64(seckill_plan_result_column(0, 1, 0)) > PG_INT32_MAX)
		seckill_item_too_many_supplied(item_id);
	SPI_freetuptable(SPI_tuptable);
}

static SqlPlan subtract_supply_plan = {
	.sql = "UPDATE seckill.items SET supplied = supplied" MINUS "$2,"
	" version = version" PLUS "1,"
	" seal = $3" XOR "(supplied" MINUS "$2)"
	" WHERE item_id" EQ "$1",
	.nargs = 3,
	.types = {INT8OID, INT8OID, INT8OID}
};

/*
 * Subtract from the units ever supplied, on a locked row, and seal it anew,
 * whether or not its seal was right; a negative number adds.  Returns the
 * units supplied after that.
 */
int64
seckill_item_subtract_supply(int64 item_id, int64 units, const ItemRow *row)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(units),
	seckill_item_seal_argument(item_id, row->lease_id)};
	int64		supplied;

	if (pg_sub_s64_overflow(row->supplied, units, &supplied) ||
		(units < 0 && supplied > PG_INT32_MAX))
		seckill_item_too_many_supplied(item_id);
	if (units > 0 && supplied < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("fewer than " INT64_FORMAT " units of item " INT64_FORMAT " were supplied",
						units, item_id),
				 errdetail("They are " INT64_FORMAT ".", row->supplied)));
	seckill_item_update_locked(&subtract_supply_plan, args);
	return supplied;
}


static SqlPlan end_plan = {
	.sql = "UPDATE seckill.items SET ends_at = $2,"
	" starts_at = CASE WHEN starts_at" GE "$2 THEN $3 ELSE starts_at END,"
	" version = version" PLUS "1"
	" WHERE item_id" EQ "$1 AND (ends_at IS NULL OR ends_at" GT "$2)",
	.nargs = 3,
	.types = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/*
 * End the sale of a locked row now, if it has not ended before.  A sale that
 * was to open later begins and ends now, as it must begin before it ends.
 */
void
seckill_item_end_sale(int64 item_id, TimestampTz now)
{
	Datum		args[] = {Int64GetDatum(item_id), TimestampTzGetDatum(now),
	TimestampTzGetDatum(now - 1)};

	if (seckill_plan_run(&end_plan, args) > 0)
		seckill_change_note_row(item_id, ROW_CHANGED);
}


/*
 * Places
 */

static SqlPlan set_place_plan = {
	.sql = "UPDATE seckill.items SET"
	" place = CASE WHEN $2" NE "'here' THEN $2 END,"
	" version = version" PLUS "1"
	" WHERE item_id" EQ "$1",
	.nargs = 2,
	.types = {INT8OID, TEXTOID}
};

/* Write where an item is sold to its locked row. */
void
seckill_item_set_place(int64 item_id, const char *place)
{
	Datum		args[] = {Int64GetDatum(item_id), CStringGetTextDatum(place)};

	seckill_item_update_locked(&set_place_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
	seckill_change_note_place();
}

static SqlPlan set_split_plan = {
	.sql = "UPDATE seckill.items SET"
	" split_over = CASE WHEN pg_catalog.cardinality($2)" GT "0 THEN $2 END,"
	" version = version" PLUS "1"
	" WHERE item_id" EQ "$1",
	.nargs = 2,
	.types = {INT8OID, INT4ARRAYOID}
};

/* Write the nodes over which an item is split to its locked row. */
void
seckill_item_set_split(int64 item_id, const SplitNodes *split)
{
	Datum		nodes[MAX_SPLIT_NODES];
	Datum		args[2];

	for (int i = 0; i < split->n; i++)
		nodes[i] = Int32GetDatum(split->node[i]);
	args[0] = Int64GetDatum(item_id);
	args[1] = seckill_plan_int4_array(nodes, split->n);
	seckill_item_update_locked(&set_split_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}
