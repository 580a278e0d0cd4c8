/*
 * order_insert.c
 *		Inserts the orders of purchases, and checks the fence.
 *
 * One INSERT, or the direct write in its place (order_direct.c), writes the
 * orders of one mode, for units of the row or of one lease.  It runs between
 * seckill_table_begin() and seckill_table_end(), as the owner of
 * seckill.orders.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "seckill.h"
#include "shmem/cache_counters.h"
#include "shmem/stat.h"
#include "table/item_row.h"
#include "table/new_orders.h"
#include "table/order_direct.h"
#include "table/order_insert.h"
#include "table/plan.h"
#include "table/relation.h"

static SqlPlan insert_one_plan = {
	.sql = "INSERT INTO seckill.orders (" NEW_ORDER_COLUMNS ", unit)"
	" VALUES (" NEW_ORDER_VALUES ", $11)",
	.nargs = NEW_ORDER_ARGS + 1,
	.types = {NEW_ORDER_TYPES, INT4OID}
};

/* Insert the order of one purchase; returns the number of rows inserted. */
static uint64
insert_one(const Purchase *p, const NewOrders *new)
{
	Datum		args[NEW_ORDER_ARGS + 1];
	char		nulls[NEW_ORDER_ARGS + 1];

	seckill_new_order_args(p, new, args, nulls);
	args[NEW_ORDER_ARGS] = Int32GetDatum(p->unit);
	nulls[NEW_ORDER_ARGS] = p->unit == 0 ? 'n' : ' ';
	return seckill_new_orders_run(&insert_one_plan, args, nulls, new);
}

static SqlPlan insert_many_plan = {
	.sql = "INSERT INTO seckill.orders (" NEW_ORDER_COLUMNS ", unit)"
	" SELECT " NEW_ORDERS_VALUES ", u.unit"
	" FROM ROWS FROM (" NEW_ORDERS_UNNEST ", pg_catalog.unnest($12))"
	" AS u(" NEW_ORDERS_NAMES ", unit)",
	.nargs = NEW_ORDERS_ARGS + 1,
	.types = {NEW_ORDERS_TYPES, INT4ARRAYOID}
};

/*
 * The numbers of the units of purchases.  If no unit has one, the array is
 * empty: the rows of the INSERT are filled up with NULL.
 */
static Datum
units_array(Purchase **list, int n)
{
	Datum	   *units = palloc(n * sizeof(Datum));
	bool	   *no_unit = palloc(n * sizeof(bool));
	int			numbered = 0;

	for (int i = 0; i < n; i++)
	{
		units[i] = Int32GetDatum(list[i]->unit);
		no_unit[i] = list[i]->unit == 0;
		numbered += !no_unit[i];
	}
	if (numbered == 0)
		return PointerGetDatum(construct_empty_array(INT4OID));
	return seckill_plan_array_with_nulls(units, no_unit, n, INT4OID,
										 sizeof(int32), true, TYPALIGN_INT);
}

/* Insert the orders of many purchases; returns the number of rows inserted. */
static uint64
insert_many(Purchase **list, int n, const NewOrders *new)
{
	Datum		args[NEW_ORDERS_ARGS + 1];
	char		nulls[NEW_ORDERS_ARGS + 1];

	seckill_new_orders_args(list, n, new, args, nulls);
	args[NEW_ORDERS_ARGS] = units_array(list, n);
	nulls[NEW_ORDERS_ARGS] = ' ';
	return seckill_new_orders_run(&insert_many_plan, args, nulls, new);
}

/*
 * Raise an error if an order for several units has a number.  The rules refuse
 * such a purchase; this one was in the queue while its item was replaced by one
 * whose units have numbers.
 */
static void
check_units(Purchase **list, int n)
{
	for (int i = 0; i < n; i++)
		if (list[i]->unit != 0 && list[i]->quantity != 1)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("item " INT64_FORMAT " was replaced by one whose units have numbers",
							list[i]->item_id),
					 errhint("Buy one unit at a time.")));
}

/*
 * Insert the orders of purchases that one mode has sold, for units of the row
 * (lease_id 0) or of a lease, and set their order_id, in ascending order.
 */
static void
insert_orders(Purchase **list, int n, int64 lease_id, Snapshot snapshot)
{
	NewOrders	new = {
		.mode = list[0]->selling_mode,
		.lease_id = lease_id,
		.created_at = GetCurrentTimestamp(),
		.snapshot = snapshot
	};
	uint64		inserted;

	check_units(list, n);
	seckill_new_orders_set_ids(list, n);
	if (seckill_orders_insert_direct(list, n, &new))
		inserted = n;
	else
	{
		inserted = n == 1 ? insert_one(list[0], &new) :
			insert_many(list, n, &new);
		seckill_stat_count(SECKILL_STAT_SQL_WRITES, 1);
	}
	seckill_new_orders_done(list, n, &new, inserted);
}

/* Insert orders for units of the row, and set their order_id. */
void
seckill_orders_insert(Purchase **list, int n)
{
	insert_orders(list, n, 0, InvalidSnapshot);
}

/*
 * The fence: insert orders of one item for units of a lease, if the item's row
 * carries that lease.  Returns false, with nothing inserted, if it does not.
 * The entry must still carry it, too: while we waited for the lock on the
 * table, a TRUNCATE may have committed.  One snapshot serves both statements.
 */
bool
seckill_orders_insert_fenced(Purchase **list, int n, int64 lease_id)
{
	Relation	items = seckill_relation_open_items();
	Snapshot	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	ItemRow		row;
	bool		passed = seckill_cache_lease_id(list[0]->entry) == lease_id &&
		seckill_item_fetch(items, list[0]->item_id, snapshot, &row, NoLock) &&
		row.lease_id == lease_id;

	if (passed)
		insert_orders(list, n, lease_id, snapshot);
	UnregisterSnapshot(snapshot);
	table_close(items, NoLock);
	return passed;
}
