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
#include "commands/sequence.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "seckill.h"
#include "shmem/cache_counters.h"
#include "shmem/schedule.h"
#include "shmem/stat.h"
#include "table/item_row.h"
#include "table/order_direct.h"
#include "table/order_insert.h"
#include "table/plan.h"
#include "table/relation.h"

#define INSERTED_COLUMNS \
	"item_id, order_id, user_id, quantity, request_id, limited, mode," \
	" lease_id, pay_by, state, unit"

/*
 * Run an INSERT of orders as their owner, under the snapshot of *new.  Mode
 * and lease are its arguments 7 and 8.  Returns the number of rows inserted.
 */
static uint64
run_insert(SqlPlan *plan, Datum *args, char *nulls, const NewOrders *new)
{
	const SeckillCatalog *c = seckill_catalog();
	TableCaller owner;
	int			nest;
	int			rc;

	args[6] = ObjectIdGetDatum(c->mode[new->mode]);
	args[7] = Int64GetDatum(new->lease_id);
	if (new->lease_id == 0)
		nulls[7] = 'n';
	seckill_table_switch_user(c->orders_owner, &owner);
	nest = seckill_plan_begin_generic();
	rc = SPI_execute_snapshot(seckill_plan_get(plan), args, nulls,
							  new->snapshot, InvalidSnapshot, false, true, 0);
	seckill_plan_end_generic(nest);
	seckill_table_restore_user(&owner);
	if (rc < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s",
			 SPI_result_code_string(rc));
	return SPI_processed;
}

static SqlPlan insert_one_plan = {
	.sql = "INSERT INTO seckill.orders (" INSERTED_COLUMNS ")"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
	.nargs = 11,
	.types = {INT8OID, INT8OID, INT8OID, INT4OID, UUIDOID, BOOLOID, MODE_TYPE,
	INT8OID, TIMESTAMPTZOID, STATE_TYPE, INT4OID}
};

/* Insert the order of one purchase; returns the number of rows inserted. */
static uint64
insert_one(const Purchase *p, const NewOrders *new)
{
	const SeckillCatalog *c = seckill_catalog();
	char		nulls[] = "           ";
	Datum		args[11];

	args[0] = Int64GetDatum(p->item_id);
	args[1] = Int64GetDatum(p->order_id);
	args[2] = Int64GetDatum(p->user_id);
	args[3] = Int32GetDatum(p->quantity);
	args[4] = UUIDPGetDatum(&p->request_id);
	args[5] = BoolGetDatum(p->rules.per_user_limit > 0);
	args[8] = TimestampTzGetDatum(order_pay_by(p, new));
	args[9] = ObjectIdGetDatum(c->state[p->rules.pay_within > 0 ? ORDER_PENDING :
										ORDER_CONFIRMED]);
	if (!p->has_request)
		nulls[4] = 'n';
	if (p->rules.pay_within == 0)
		nulls[8] = 'n';
	args[10] = Int32GetDatum(p->unit);
	if (p->unit == 0)
		nulls[10] = 'n';
	return run_insert(&insert_one_plan, args, nulls, new);
}

static SqlPlan insert_many_plan = {
	.sql = "INSERT INTO seckill.orders (" INSERTED_COLUMNS ")"
	" SELECT u.item_id, u.order_id, u.user_id, u.quantity, u.request_id,"
	" u.limited, $7, $8, u.pay_by,"
	" CASE WHEN u.pay_by IS NULL THEN $10 ELSE $11 END, u.unit"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2),"
	" pg_catalog.unnest($3), pg_catalog.unnest($4),"
	" pg_catalog.unnest($5), pg_catalog.unnest($6),"
	" pg_catalog.unnest($9), pg_catalog.unnest($12))"
	" AS u(item_id, order_id, user_id, quantity, request_id, limited,"
	" pay_by, unit)",
	.nargs = 12,
	.types = {INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID,
		UUIDARRAYOID, BOOLARRAYOID, MODE_TYPE, INT8OID, TIMESTAMPTZARRAYOID,
	STATE_TYPE, STATE_TYPE, INT4ARRAYOID}
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
	const SeckillCatalog *c = seckill_catalog();
	Datum	   *column[7];
	bool	   *no_request = palloc(n * sizeof(bool));
	bool	   *no_pay_by = palloc(n * sizeof(bool));
	char		nulls[] = "            ";
	Datum		args[12];

	for (int j = 0; j < (int) lengthof(column); j++)
		column[j] = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		const Purchase *p = list[i];

		column[0][i] = Int64GetDatum(p->item_id);
		column[1][i] = Int64GetDatum(p->order_id);
		column[2][i] = Int64GetDatum(p->user_id);
		column[3][i] = Int32GetDatum(p->quantity);
		column[4][i] = UUIDPGetDatum(&p->request_id);
		column[5][i] = BoolGetDatum(p->rules.per_user_limit > 0);
		column[6][i] = TimestampTzGetDatum(order_pay_by(p, new));
		no_request[i] = !p->has_request;
		no_pay_by[i] = p->rules.pay_within == 0;
	}
	for (int j = 0; j < 3; j++)
		args[j] = seckill_plan_int8_array(column[j], n);
	args[3] = seckill_plan_int4_array(column[3], n);
	args[4] = seckill_plan_array_with_nulls(column[4], no_request, n, UUIDOID,
											UUID_LEN, false, TYPALIGN_CHAR);
	args[5] = PointerGetDatum(construct_array(column[5], n, BOOLOID, 1, true,
											  TYPALIGN_CHAR));
	args[8] = seckill_plan_array_with_nulls(column[6], no_pay_by, n,
											TIMESTAMPTZOID, sizeof(TimestampTz),
											FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	args[9] = ObjectIdGetDatum(c->state[ORDER_CONFIRMED]);
	args[10] = ObjectIdGetDatum(c->state[ORDER_PENDING]);
	args[11] = units_array(list, n);
	return run_insert(&insert_many_plan, args, nulls, new);
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

/* Schedule the maintenance worker for when the first of these must be paid. */
static void
schedule_payments(Purchase **list, int n, const NewOrders *new)
{
	for (int i = 0; i < n; i++)
		if (list[i]->rules.pay_within > 0)
			seckill_schedule_note(order_pay_by(list[i], new));
}

/*
 * Insert the orders of purchases that one mode has sold, for units of the row
 * (lease_id 0) or of a lease, and set their order_id, in ascending order.  A
 * trigger that skips the row is an error: it would lose the order while its
 * units are gone.
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
	for (int i = 0; i < n; i++)
		list[i]->order_id = nextval_internal(seckill_catalog()->order_ids,
											 false);
	if (seckill_orders_insert_direct(list, n, &new))
		inserted = n;
	else
	{
		inserted = n == 1 ? insert_one(list[0], &new) :
			insert_many(list, n, &new);
		seckill_stat_count(SECKILL_STAT_SQL_INSERTS, 1);
	}
	if (inserted != (uint64) n)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("order of item " INT64_FORMAT " was not inserted",
						list[0]->item_id),
				 errhint("Look for a trigger or rule on seckill.orders that skips rows.")));
	schedule_payments(list, n, &new);
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
