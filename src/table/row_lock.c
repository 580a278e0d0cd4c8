/*
 * row_lock.c
 *		Locks rows of seckill.items, and reads them as they were locked.
 *
 * All functions run between seckill_table_begin() and seckill_table_end().  A
 * row that was locked is noted in xact/changes.c, as the transaction must not
 * wait for sessions that wait for the row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/resowner.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/columns.h"
#include "base/fault.h"
#include "seckill.h"
#include "shmem/stat.h"
#include "table/item_direct.h"
#include "table/item_row.h"
#include "table/plan.h"
#include "table/row_lock.h"
#include "xact/changes.h"

/*
 * Fill *row from row i of the result of a locking SELECT: xmin, then the
 * columns of the table.  Returns the item_id.
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
	seckill_item_read_numbers(&columns, row);
	item_id = DatumGetInt64(seckill_item_column(&columns, ITEM_ITEM_ID, 0));
	pfree(values);
	pfree(nulls);
	return item_id;
}

/* Run a SELECT that locks the row of one item; false if it found none. */
static bool
lock_by_sql(SqlPlan *plan, int64 item_id, ItemRow *row)
{
	Datum		args[] = {Int64GetDatum(item_id)};
	uint64		found = seckill_plan_run(plan, args);

	seckill_stat_count(SECKILL_STAT_SQL_WRITES, 1);
	/* now that the table is locked, check that its columns are ours */
	(void) seckill_catalog();
	if (found > 0)
		(void) read_locked(0, row);
	SPI_freetuptable(SPI_tuptable);
	return found > 0;
}

/*
 * Lock the row of one item directly, or by the SELECT that does the same; false
 * if there is none, or if it is locked and the policy is not to wait.
 */
static bool
lock_item(SqlPlan *plan, LockWaitPolicy policy, int64 item_id, ItemRow *row)
{
	bool		locked;

	if (!seckill_items_lock_direct(&item_id, 1, policy, row, &locked))
		locked = lock_by_sql(plan, item_id, row);
	if (!locked)
		return false;
	SECKILL_FAULT("row locked");
	seckill_change_note_row(item_id, ROW_LOCKED);
	return true;
}

#define LOCK_ITEM \
	"SELECT i.xmin, i.* FROM seckill.items i" \
	" WHERE i.item_id" EQ "$1 FOR NO KEY UPDATE"

static SqlPlan lock_plan = {
	.sql = LOCK_ITEM,
	.nargs = 1,
	.types = {INT8OID}
};

/*
 * Lock the row of an item wherever it is sold, wait for it if another
 * transaction has it locked, and read it.
 * Raises an error if there is no such item.  After a wait for a DELETE the row
 * is looked up again, as the item may have been inserted anew; a snapshot that
 * cannot see the new row is too old, which is a serialization failure.
 */
void
seckill_item_lock_row_anywhere(int64 item_id, ItemRow *row)
{
	while (!lock_item(&lock_plan, LockWaitBlock, item_id, row))
	{
		CHECK_FOR_INTERRUPTS();
		if (!seckill_item_read_latest(item_id, row))
			seckill_unknown_item(item_id);
		if (IsolationUsesXactSnapshot())
			seckill_serialization_failure();
	}
}

/*
 * Lock the row as seckill_item_lock_row_anywhere() does; raise an error if the
 * item is not sold here, or this node may not sell.
 */
void
seckill_item_lock_row(int64 item_id, ItemRow *row)
{
	seckill_item_lock_row_anywhere(item_id, row);
	if (row->rules.place != PLACE_HERE)
		seckill_item_elsewhere(item_id, row->rules.place);
	seckill_node_check_open();
}

static SqlPlan try_lock_plan = {
	.sql = LOCK_ITEM " SKIP LOCKED",
	.nargs = 1,
	.types = {INT8OID}
};

/*
 * Lock the row and read it; false at once if another transaction has it
 * locked, or if there is no such item.
 */
bool
seckill_item_try_lock_row(int64 item_id, ItemRow *row)
{
	return lock_item(&try_lock_plan, LockWaitSkip, item_id, row);
}

/* The index of id in an ascending array that contains it. */
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

/* Lock and read rows as seckill_items_try_lock_rows() does. */
static void
try_lock_by_sql(const int64 *item_ids, int n, ItemRow *rows, bool *locked)
{
	Datum	   *ids = palloc(n * sizeof(Datum));
	Datum		args[1];
	uint64		found;

	memset(locked, 0, n * sizeof(bool));
	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(item_ids[i]);
	args[0] = seckill_plan_int8_array(ids, n);
	found = seckill_plan_run_many(&try_lock_many_plan, args);
	seckill_stat_count(SECKILL_STAT_SQL_WRITES, 1);
	(void) seckill_catalog();
	for (uint64 i = 0; i < found; i++)
	{
		ItemRow		row;
		int			at = position(item_ids, n, read_locked(i, &row));

		rows[at] = row;
		locked[at] = true;
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Lock and read those rows of the given items that no other transaction has
 * locked.  item_ids is ascending; locked[i] says whether rows[i] is set.
 */
void
seckill_items_try_lock_rows(const int64 *item_ids, int n, ItemRow *rows,
							bool *locked)
{
	if (n == 1)
	{
		locked[0] = seckill_item_try_lock_row(item_ids[0], &rows[0]);
		return;
	}
	if (!seckill_items_lock_direct(item_ids, n, LockWaitSkip, rows, locked))
		try_lock_by_sql(item_ids, n, rows, locked);
	for (int i = 0; i < n; i++)
		if (locked[i])
			seckill_change_note_row(item_ids[i], ROW_LOCKED);
}

/*
 * Which of the rows can be locked without a wait, and are sold here?  Returns
 * with none of them locked: they are locked in a subtransaction, which is
 * rolled back.
 */
void
seckill_items_test_locks(const int64 *item_ids, int n, bool *unlocked)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ItemRow    *rows = palloc(n * sizeof(ItemRow));

	BeginInternalSubTransaction(NULL);
	seckill_items_try_lock_rows(item_ids, n, rows, unlocked);
	for (int i = 0; i < n; i++)
		unlocked[i] = unlocked[i] && rows[i].rules.place == PLACE_HERE;
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	pfree(rows);
}
