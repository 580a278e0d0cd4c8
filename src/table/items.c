/*
 * items.c
 *		TODO
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/resowner.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/columns.h"
#include "base/fault.h"
#include "seckill.h"
#include "table/item_row.h"
#include "table/items.h"
#include "table/plan.h"
#include "xact/changes.h"

#define LOCK_ITEM \
	"SELECT i.xmin, i.* FROM seckill.items i" \
	" WHERE i.item_id" EQ "$1 FOR NO KEY UPDATE"

#define SELL_UNITS \
	"UPDATE seckill.items SET stock = stock" MINUS "$2," \
	" version = version" PLUS "1" \
	" WHERE item_id" EQ "$1 AND stock" GE "$2"

/*
 * seckill.items.  Functions that read return false if there is no such item.
 */

/*
 * Row i of the result of one of the locking SELECTs: xmin, then the columns of
 * the table.  Returns which item it is.
 */
static int64
read_locked(uint64 i, ItemRow *row)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));
	ItemColumns columns = {values + 1, nulls + 1};
	int64		item_id;

	heap_deform_tuple(SPI_tuptable->vals[i], desc, values, nulls);
	seckill_item_read_row(&columns, DatumGetTransactionId(values[0]), row);
	item_id = DatumGetInt64(seckill_item_column(&columns, ITEM_ITEM_ID, 0));
	pfree(values);
	pfree(nulls);
	return item_id;
}

/* Run one of the SELECTs that lock one item. */
static bool
lock_item(SqlPlan *plan, int64 item_id, ItemRow *row)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	uint64		found = seckill_plan_run(plan, args);

	/* now that the table is locked: its columns are as we know them */
	(void) seckill_catalog();
	if (found == 0)
		return false;
	(void) read_locked(0, row);
	SPI_freetuptable(SPI_tuptable);
	SECKILL_FAULT("row locked");
	seckill_change_note_row(item_id, ROW_LOCKED);
	return true;
}

static SqlPlan lock_plan = {
	.sql = LOCK_ITEM,
	.nargs = 1,
	.types = {INT8OID}
};

/*
 * Lock the row, waiting for whoever has it; then read it.  Who
 * waited for a DELETE looks again: the item may have been inserted anew.  A
 * snapshot that cannot see that is too old.  No such item: an error.
 */
void
seckill_item_lock_row(int64 item_id, ItemRow *row)
{
	while (!lock_item(&lock_plan, item_id, row))
	{
		CHECK_FOR_INTERRUPTS();
		if (!seckill_item_read_latest(item_id, row))
			seckill_unknown_item(item_id);
		if (IsolationUsesXactSnapshot())
			seckill_serialization_failure();
	}
}

static SqlPlan try_lock_plan = {
	.sql = LOCK_ITEM " SKIP LOCKED",
	.nargs = 1,
	.types = {INT8OID}
};

/* The same, or false at once if someone else has it locked. */
bool
seckill_item_try_lock_row(int64 item_id, ItemRow *row)
{
	return lock_item(&try_lock_plan, item_id, row);
}

/* Where id is in an ascending array that has it. */
static int
position(const int64 *ids, int n, int64 id)
{
	int			low = 0;
	int			high = n - 1;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static SqlPlan try_lock_many_plan = {
	.sql = "SELECT i.xmin, i.*"
	" FROM pg_catalog.unnest($1) AS u(id)"
	" JOIN seckill.items i ON i.item_id" EQ "u.id"
	" FOR NO KEY UPDATE OF i SKIP LOCKED",
	.nargs = 1,
	.types = {INT8ARRAYOID}
};

/*
 * Lock those rows of the given items that nobody else has locked.  item_ids
 * ascends; locked[i] tells of rows[i].
 */
void
seckill_items_try_lock_rows(const int64 *item_ids, int n, ItemRow *rows,
							bool *locked)
{
	Datum	   *ids;
	Datum		args[1];
	uint64		found;

	if (n == 1)
	{
		locked[0] = seckill_item_try_lock_row(item_ids[0], &rows[0]);
		return;
	}
	memset(locked, 0, n * sizeof(bool));
	ids = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(item_ids[i]);
	args[0] = seckill_plan_int8_array(ids, n);
	found = seckill_plan_run_many(&try_lock_many_plan, args);
	(void) seckill_catalog();
	for (uint64 i = 0; i < found; i++)
	{
		ItemRow		row;
		int64		id = read_locked(i, &row);
		int			at = position(item_ids, n, id);

		rows[at] = row;
		locked[at] = true;
		seckill_change_note_row(id, ROW_LOCKED);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Which of the rows could be locked at once?  None is locked when it returns:
 * that is left to a subtransaction, which is rolled back.
 */
void
seckill_items_test_locks(const int64 *item_ids, int n, bool *unlocked)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ItemRow    *rows = palloc(n * sizeof(ItemRow));

	BeginInternalSubTransaction(NULL);
	seckill_items_try_lock_rows(item_ids, n, rows, unlocked);
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	pfree(rows);
}

/* An UPDATE of a row that is there did nothing. */
static void
not_updated(int64 item_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("item " INT64_FORMAT " was not updated", item_id),
			 errhint("Look for a trigger or rule on seckill.items that skips rows, or that changes the item before it is updated.")));
}

/* Run an UPDATE of a row that the caller has locked. */
static void
update_locked(SqlPlan *plan, Datum *args)
{
	if (seckill_plan_run(plan, args) != 1)
		not_updated(DatumGetInt64(args[0]));
	seckill_change_note_row(DatumGetInt64(args[0]), ROW_LOCKED);
}

/* Run an UPDATE that sells; did it? */
static bool
sell(SqlPlan *plan, Datum *args)
{
	bool		sold = seckill_plan_run(plan, args) > 0;

	if (sold)
		seckill_change_note_row(DatumGetInt64(args[0]), ROW_LOCKED);
	return sold;
}

static SqlPlan sell_plan = {
	.sql = SELL_UNITS,
	.nargs = 2,
	.types = {INT8OID, INT4OID}
};

/* Sell units of the row's stock, if it has them. */
bool
seckill_item_sell(int64 item_id, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units)};

	return sell(&sell_plan, args);
}

static SqlPlan sell_version_plan = {
	.sql = SELL_UNITS " AND version" EQ "$3",
	.nargs = 3,
	.types = {INT8OID, INT4OID, INT8OID}
};

/* The same, if the row still has the given version. */
bool
seckill_item_sell_version(int64 item_id, int32 units, int64 version)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units),
	Int64GetDatum(version)};

	return sell(&sell_version_plan, args);
}

static SqlPlan sell_locked_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" MINUS "$2,"
	" leased = leased" MINUS "$3, version = version" PLUS "1"
	" WHERE item_id" EQ "$1 AND stock" GE "$2 AND leased" GE "$3",
	.nargs = 3,
	.types = {INT8OID, INT4OID, INT4OID}
};

/* Sell units of a locked row, and units of its lease that the caller holds. */
void
seckill_item_sell_locked(int64 item_id, int32 from_row, int32 from_lease)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(from_row),
	Int32GetDatum(from_lease)};

	update_locked(&sell_locked_plan, args);
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

/* Sell units of several locked rows; the items differ. */
void
seckill_items_sell(const int64 *item_ids, const int32 *units, int n)
{
	Datum	   *columns[2];
	Datum		args[2];
	uint64		processed;

	if (n == 1)
	{
		seckill_item_sell_locked(item_ids[0], units[0], 0);
		return;
	}
	columns[0] = palloc(n * sizeof(Datum));
	columns[1] = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		columns[0][i] = Int64GetDatum(item_ids[i]);
		columns[1][i] = Int32GetDatum(units[i]);
	}
	args[0] = seckill_plan_int8_array(columns[0], n);
	args[1] = seckill_plan_int4_array(columns[1], n);
	seckill_change_begin_own(0);
	processed = seckill_plan_run_many(&sell_many_plan, args);
	seckill_change_end_own();
	if (processed != (uint64) n)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("items of a batch were not updated"),
				 errhint("Look for a trigger or rule on seckill.items that skips rows, or that changes the item before it is updated.")));
}

static SqlPlan overwrite_plan = {
	.sql = "UPDATE seckill.items SET stock = $2, version = version" PLUS "1"
	" WHERE item_id" EQ "$1",
	.nargs = 2,
	.types = {INT8OID, INT4OID}
};

/* Write back a stock computed from what was read: the mistake of mode none. */
void
seckill_item_overwrite(int64 item_id, int32 stock)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(stock)};

	ItemRow		row;

	if (seckill_plan_run(&overwrite_plan, args) == 0)
	{
		if (!seckill_item_read_latest(item_id, &row))
			seckill_unknown_item(item_id);
		not_updated(item_id);
	}
	seckill_change_note_row(item_id, ROW_CHANGED);
}

/*
 * The seal of a row: a number that tells a row that the extension has written
 * from one that somebody made up, see guard.c.  No secret, and the same on
 * every platform, as rows are dumped on one and restored on another.  Sealed
 * are the item and its lease, by the finaliser of SplitMix64, and the units
 * supplied, by XOR, so that a statement can seal what it reads.
 */
static uint64
scramble(uint64 x)
{
	x = (x ^ (x >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

int64
seckill_item_seal(int64 item_id, int64 lease_id, int64 supplied)
{
	uint64		x = scramble((uint64) item_id + UINT64CONST(0x9e3779b97f4a7c15));

	return (int64) (scramble(x + (uint64) lease_id) ^ (uint64) supplied);
}

/* The argument of a statement that seals the units supplied itself. */
static Datum
seal_argument(int64 item_id, int64 lease_id)
{
	return Int64GetDatum(seckill_item_seal(item_id, lease_id, 0));
}

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
	Int64GetDatum(lease_id), seal_argument(item_id, lease_id)};

	update_locked(&lease_plan, args);
}

static SqlPlan give_back_plan = {
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

	update_locked(&give_back_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}

static SqlPlan return_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" PLUS "$2,"
	" version = version" PLUS "1"
	" WHERE item_id" EQ "$1",
	.nargs = 2,
	.types = {INT8OID, INT4OID}
};

/* Put units of orders back on sale, on a locked row. */
void
seckill_item_add_stock(int64 item_id, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units)};

	update_locked(&return_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}

static SqlPlan close_plan = {
	.sql = "UPDATE seckill.items SET stock = stock" PLUS "$2,"
	" leased = 0, lease_id = NULL, version = version" PLUS "1,"
	" seal = $3" XOR "supplied"
	" WHERE item_id" EQ "$1",
	.nargs = 3,
	.types = {INT8OID, INT4OID, INT8OID}
};

/* Give units of the lease back, and close it: the rest of it is sold. */
void
seckill_item_close_lease(int64 item_id, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units),
	seal_argument(item_id, 0)};

	update_locked(&close_plan, args);
	seckill_change_note_row(item_id, ROW_CHANGED);
}

static SqlPlan supply_plan = {
	.sql = "UPDATE seckill.items SET supplied = supplied" PLUS "$2,"
	" version = version" PLUS "1,"
	" seal = seal" XOR "supplied" XOR "(supplied" PLUS "$2)"
	" WHERE item_id" EQ "$1 RETURNING supplied",
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

static void
too_many_supplied(int64 item_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("item " INT64_FORMAT " would have too many units", item_id),
			 errdetail("At most %d can be supplied, sold ones included.",
					   PG_INT32_MAX),
			 errhint("Move orders to an archive, and take their units out of the books with seckill_write_off().")));
}

/*
 * Add to the units ever supplied, which may be a negative number.  All of them
 * can come back to the row, whose stock must have room for them: more is an
 * error.  A row that is not there any more has no books to keep.
 */
void
seckill_item_add_supply(int64 item_id, int64 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(units)};
	ItemRow		row;

	if (seckill_plan_run(&supply_plan, args) == 0)
	{
		if (seckill_item_read_latest(item_id, &row))
			not_updated(item_id);
		return;
	}
	if (units > 0 &&
		DatumGetInt64(seckill_plan_result_column(0, 1, 0)) > PG_INT32_MAX)
		too_many_supplied(item_id);
	SPI_freetuptable(SPI_tuptable);
}

static SqlPlan write_off_plan = {
	.sql = "UPDATE seckill.items SET supplied = supplied" MINUS "$2,"
	" version = version" PLUS "1,"
	" seal = $3" XOR "(supplied" MINUS "$2)"
	" WHERE item_id" EQ "$1",
	.nargs = 3,
	.types = {INT8OID, INT8OID, INT8OID}
};

/*
 * Take units from those ever supplied, on a locked row, and seal it anew; a
 * negative number adds some.  Returns how many are supplied then.
 */
int64
seckill_item_subtract_supply(int64 item_id, int64 units, const ItemRow *row)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(units),
	seal_argument(item_id, row->lease_id)};
	int64		supplied;

	if (pg_sub_s64_overflow(row->supplied, units, &supplied) ||
		(units < 0 && supplied > PG_INT32_MAX))
		too_many_supplied(item_id);
	if (units > 0 && supplied < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("fewer than " INT64_FORMAT " units of item " INT64_FORMAT " were supplied",
						units, item_id),
				 errdetail("They are " INT64_FORMAT ".", row->supplied)));
	update_locked(&write_off_plan, args);
	return supplied;
}


/*
 * Items and orders as a whole, see item.c
 */

static SqlPlan any_lease_plan = {
	.sql = "SELECT 1 FROM seckill.items WHERE leased" GT "0 LIMIT 1"
};

/* Has any item an open lease? */
bool
seckill_items_any_lease(void)
{
	return seckill_plan_run_latest(&any_lease_plan, NULL, seckill_catalog()->owner) > 0;
}


/*
 * The life of an order
 */

static SqlPlan opening_plan = {
	.sql = "SELECT item_id FROM seckill.items"
	" WHERE starts_at" GT "$1 AND starts_at" LE "$2"
	" ORDER BY starts_at LIMIT $3",
	.nargs = 3,
	.types = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID}
};

/*
 * Items whose sale opens after one time and until another, the first ones, up
 * to max.
 */
int
seckill_items_opening(TimestampTz after, TimestampTz until, int64 *item_ids,
					  int max)
{
	Datum		args[] = {TimestampTzGetDatum(after), TimestampTzGetDatum(until),
	Int64GetDatum(max)};
	int			n = (int) seckill_plan_run_latest(&opening_plan, args,
												  seckill_catalog()->owner);

	for (int i = 0; i < n; i++)
		item_ids[i] = DatumGetInt64(seckill_plan_result_column(i, 1, 0));
	SPI_freetuptable(SPI_tuptable);
	return n;
}

static SqlPlan next_opening_plan = {
	.sql = "SELECT starts_at FROM seckill.items WHERE starts_at" GT "$1"
	" ORDER BY starts_at LIMIT 1",
	.nargs = 1,
	.types = {TIMESTAMPTZOID}
};

/* When the first sale after a time opens. */
TimestampTz
seckill_items_next_opening(TimestampTz after)
{
	Datum		args[] = {TimestampTzGetDatum(after)};

	return seckill_plan_first_time(&next_opening_plan, args, seckill_catalog()->owner);
}
