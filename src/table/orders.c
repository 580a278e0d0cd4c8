/*
 * orders.c
 *		TODO
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/check.h"
#include "seckill.h"
#include "shmem/cache_counters.h"
#include "shmem/schedule.h"
#include "table/item_row.h"
#include "table/orders.h"
#include "table/plan.h"
#include "table/relation.h"

#define INSERTED_COLUMNS \
	"item_id, order_id, user_id, quantity, request_id, limited, mode," \
	" lease_id, pay_by, state"

#define ONE_ORDER	"item_id" EQ "$1 AND order_id" EQ "$2"

/*
 * Items and orders as a whole, see item.c
 */

static SqlPlan read_order_plan = {
	.sql = "SELECT user_id, quantity, state, created_at, pay_by, mode, request_id"
	" FROM seckill.orders WHERE " ONE_ORDER,
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/* The same for what seckill_order() shows of an order. */
bool
seckill_orders_read(int64 item_id, int64 order_id, Datum *values,
					bool *nulls)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id)};

	if (seckill_plan_run_latest(&read_order_plan, args,
								seckill_catalog()->orders_owner) == 0)
		return false;
	seckill_plan_copy_columns(values, nulls);
	return true;
}


/*
 * seckill.orders
 */

/* When an order made at this time must be paid; 0: it is confirmed already. */
static TimestampTz
pay_by(const Purchase *p, TimestampTz now)
{
	return p->rules.pay_within > 0 ? now + p->rules.pay_within : 0;
}

static SqlPlan order_plan = {
	.sql = "INSERT INTO seckill.orders (" INSERTED_COLUMNS ")"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
	.nargs = 10,
	.types = {INT8OID, INT8OID, INT8OID, INT4OID, UUIDOID, BOOLOID, MODE_TYPE,
	INT8OID, TIMESTAMPTZOID, STATE_TYPE}
};

/* Arguments of &order_plan but mode and lease; nulls is of blanks. */
static void
one_order(const Purchase *p, TimestampTz now, Datum *args, char *nulls)
{
	const SeckillCatalog *c = seckill_catalog();

	args[0] = Int64GetDatum(p->item_id);
	args[1] = Int64GetDatum(p->order_id);
	args[2] = Int64GetDatum(p->user_id);
	args[3] = Int32GetDatum(p->quantity);
	args[4] = UUIDPGetDatum(&p->request_id);
	args[5] = BoolGetDatum(p->rules.per_user_limit > 0);
	args[8] = TimestampTzGetDatum(pay_by(p, now));
	args[9] = ObjectIdGetDatum(c->state[p->rules.pay_within > 0 ? ORDER_PENDING :
										ORDER_CONFIRMED]);
	if (!p->has_request)
		nulls[4] = 'n';
	if (p->rules.pay_within == 0)
		nulls[8] = 'n';
}

static SqlPlan orders_plan = {
	.sql = "INSERT INTO seckill.orders (" INSERTED_COLUMNS ")"
	" SELECT u.item_id, u.order_id, u.user_id, u.quantity, u.request_id,"
	" u.limited, $7, $8, u.pay_by,"
	" CASE WHEN u.pay_by IS NULL THEN $10 ELSE $11 END"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2),"
	" pg_catalog.unnest($3), pg_catalog.unnest($4),"
	" pg_catalog.unnest($5), pg_catalog.unnest($6),"
	" pg_catalog.unnest($9))"
	" AS u(item_id, order_id, user_id, quantity, request_id, limited,"
	" pay_by)",
	.nargs = 11,
	.types = {INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID,
		UUIDARRAYOID, BOOLARRAYOID, MODE_TYPE, INT8OID, TIMESTAMPTZARRAYOID,
	STATE_TYPE, STATE_TYPE}
};

/* The same for &orders_plan: arrays for many, and the states to choose from. */
static void
many_orders(Purchase **list, int n, TimestampTz now, Datum *args)
{
	const SeckillCatalog *c = seckill_catalog();
	Datum	   *column[7];
	bool	   *no_request = palloc(n * sizeof(bool));
	bool	   *no_pay_by = palloc(n * sizeof(bool));

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
		column[6][i] = TimestampTzGetDatum(pay_by(p, now));
		no_request[i] = !p->has_request;
		no_pay_by[i] = p->rules.pay_within == 0;
	}
	for (int j = 0; j < 3; j++)
		args[j] = seckill_plan_int8_array(column[j], n);
	args[3] = seckill_plan_int4_array(column[3], n);
	args[4] = seckill_plan_array_with_nulls(column[4], no_request, n, UUIDOID, UUID_LEN,
											false, TYPALIGN_CHAR);
	args[5] = PointerGetDatum(construct_array(column[5], n, BOOLOID, 1, true,
											  TYPALIGN_CHAR));
	args[8] = seckill_plan_array_with_nulls(column[6], no_pay_by, n, TIMESTAMPTZOID,
											sizeof(TimestampTz), FLOAT8PASSBYVAL,
											TYPALIGN_DOUBLE);
	args[9] = ObjectIdGetDatum(c->state[ORDER_CONFIRMED]);
	args[10] = ObjectIdGetDatum(c->state[ORDER_PENDING]);
}

/* The keeper must look when the first of these is not paid. */
static void
schedule_orders(Purchase **list, int n, TimestampTz now)
{
	for (int i = 0; i < n; i++)
		if (list[i]->rules.pay_within > 0)
			seckill_schedule_note(pay_by(list[i], now));
}

/*
 * Write the orders of purchases by one mode, for units of the row (lease_id 0)
 * or of a lease, and set their order_id, ascending.  A trigger that skips the
 * row would lose the order while its units are gone: an error.
 */
static void
insert_orders(Purchase **list, int n, int64 lease_id, Snapshot snapshot)
{
	const SeckillCatalog *c = seckill_catalog();
	TimestampTz now = GetCurrentTimestamp();
	char		nulls[] = "       n   ";
	Datum		args[MAX_ARGS];
	TableCaller owner;
	int			nest;
	int			rc;

	if (lease_id != 0)
		nulls[7] = ' ';
	for (int i = 0; i < n; i++)
		list[i]->order_id = nextval_internal(c->order_ids, false);
	if (n == 1)
		one_order(list[0], now, args, nulls);
	else
		many_orders(list, n, now, args);
	args[6] = ObjectIdGetDatum(c->mode[list[0]->selling_mode]);
	args[7] = Int64GetDatum(lease_id);
	seckill_table_become(c->orders_owner, &owner);
	nest = seckill_plan_begin_generic();
	rc = SPI_execute_snapshot(seckill_plan_get(n == 1 ? &order_plan : &orders_plan),
							  args, nulls, snapshot, InvalidSnapshot, false,
							  true, 0);
	seckill_plan_end_generic(nest);
	SetUserIdAndSecContext(owner.user, owner.context);
	if (rc < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s",
			 SPI_result_code_string(rc));
	if (SPI_processed != (uint64) n)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("order of item " INT64_FORMAT " was not inserted",
						list[0]->item_id),
				 errhint("Look for a trigger or rule on seckill.orders that skips rows.")));
	schedule_orders(list, n, now);
}

/* Write orders for units of the row. */
void
seckill_orders_insert(Purchase **list, int n)
{
	insert_orders(list, n, 0, InvalidSnapshot);
}

/*
 * Write orders of one item for units of a lease, if the row carries that lease and
 * the entry still does: while we waited for the table a TRUNCATE may have come
 * and gone.  This is the fence.  One snapshot serves both statements.
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


/*
 * The life of an order
 */

/* Run a statement on orders of one item, the first argument, as their owner. */
static uint64
run_on_orders(SqlPlan *plan, Datum *args)
{
	TableCaller caller;
	uint64		processed;

	seckill_table_become(seckill_catalog()->orders_owner, &caller);
	processed = seckill_plan_run(plan, args);
	SetUserIdAndSecContext(caller.user, caller.context);
	return processed;
}

/* An UPDATE of a locked order that found it did nothing. */
void
seckill_orders_not_updated(int64 item_id, int64 order_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("order " INT64_FORMAT " of item " INT64_FORMAT " was not updated",
					order_id, item_id),
			 errhint("Look for a trigger or rule on seckill.orders that skips rows.")));
}

/*
 * Run an UPDATE of orders of one item that returns their state, and leaves its
 * result for the caller to free; returns how many it moved.  A trigger that
 * keeps the old row would have their units given back again and again.
 */
static int
move_orders(SqlPlan *plan, Datum *args, OrderState to)
{
	int			moved = (int) run_on_orders(plan, args);

	for (int i = 0; i < moved; i++)
		if (DatumGetObjectId(seckill_plan_result_column(i, 1, ObjectIdGetDatum(InvalidOid))) !=
			seckill_catalog()->state[to])
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
					 errmsg("order of item " INT64_FORMAT " was not updated",
							DatumGetInt64(args[0])),
					 errhint("Look for a trigger on seckill.orders that changes the state.")));
	return moved;
}

/* The same for one order, its second argument; was there one to move? */
static bool
move_order(SqlPlan *plan, Datum *args, OrderState to)
{
	bool		moved = move_orders(plan, args, to) > 0;

	SPI_freetuptable(SPI_tuptable);
	return moved;
}

/* Run an UPDATE of an order that the caller has locked. */
static void
update_order(SqlPlan *plan, Datum *args, OrderState to)
{
	if (!move_order(plan, args, to))
		seckill_orders_not_updated(DatumGetInt64(args[0]),
								   DatumGetInt64(args[1]));
}

static SqlPlan confirm_plan = {
	.sql = "UPDATE seckill.orders SET state = 'confirmed'"
	" WHERE " ONE_ORDER " AND state" EQ "$3 RETURNING state",
	.nargs = 3,
	.types = {INT8OID, INT8OID, STATE_TYPE}
};

/* Confirm the order if it is pending; was it? */
bool
seckill_orders_confirm(int64 item_id, int64 order_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id),
	ObjectIdGetDatum(seckill_catalog()->state[ORDER_PENDING])};

	return move_order(&confirm_plan, args, ORDER_CONFIRMED);
}

static OrderState
state_of(Oid value)
{
	const SeckillCatalog *c = seckill_catalog();

	for (int i = 0; i < ORDER_STATES; i++)
		if (c->state[i] == value)
			return (OrderState) i;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("order has an unknown state")));
}

static SqlPlan lock_order_plan = {
	.sql = "SELECT user_id, quantity, state FROM seckill.orders"
	" WHERE " ONE_ORDER " FOR NO KEY UPDATE",
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

static SqlPlan has_order_plan = {
	.sql = "SELECT 1 FROM seckill.orders WHERE " ONE_ORDER,
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/*
 * Lock an order, waiting for whoever has it, and read it; false if there is
 * none.
 */
bool
seckill_orders_lock(int64 item_id, int64 order_id, OrderRow *row)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id)};

	if (run_on_orders(&lock_order_plan, args) == 0)
	{
		if (IsolationUsesXactSnapshot() &&
			seckill_plan_run_latest(&has_order_plan, args,
									seckill_catalog()->orders_owner) > 0)
			seckill_serialization_failure();
		return false;
	}
	row->user_id = DatumGetInt64(seckill_plan_result_column(0, 1, Int64GetDatum(0)));
	row->quantity = DatumGetInt32(seckill_plan_result_column(0, 2, 0));
	row->state = state_of(DatumGetObjectId(seckill_plan_result_column(0, 3, 0)));
	SPI_freetuptable(SPI_tuptable);
	return true;
}

static SqlPlan confirm_late_plan = {
	.sql = "UPDATE seckill.orders SET state = 'confirmed', limited = $3"
	" WHERE " ONE_ORDER " RETURNING state",
	.nargs = 3,
	.types = {INT8OID, INT8OID, BOOLOID}
};

/* Confirm a locked order that has expired, and count it for the limit. */
void
seckill_orders_confirm_late(int64 item_id, int64 order_id, bool limited)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id),
	BoolGetDatum(limited)};

	update_order(&confirm_late_plan, args, ORDER_CONFIRMED);
}

static SqlPlan cancel_plan = {
	.sql = "UPDATE seckill.orders SET state = 'cancelled', limited = false"
	" WHERE " ONE_ORDER " RETURNING state",
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/* Cancel a locked order. */
void
seckill_orders_cancel(int64 item_id, int64 order_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id)};

	update_order(&cancel_plan, args, ORDER_CANCELLED);
}

static SqlPlan expire_plan = {
	.sql = "WITH late AS MATERIALIZED ("
	"SELECT ctid FROM seckill.orders"
	" WHERE item_id" EQ "$1 AND order_id" EQ "ANY ($2)"
	" AND state" EQ "$4 AND pay_by" LE "$3"
	" FOR NO KEY UPDATE SKIP LOCKED)"
	" UPDATE seckill.orders o SET state = 'expired', limited = false"
	" FROM late WHERE o.ctid" EQ "late.ctid"
	" RETURNING o.state, o.quantity",
	.nargs = 4,
	.types = {INT8OID, INT8ARRAYOID, TIMESTAMPTZOID, STATE_TYPE}
};

/*
 * Of the given orders of an item, expire those that are overdue still and that
 * nobody has locked.  Returns their number, and their units.
 */
int
seckill_orders_expire(int64 item_id, const OrderKey *orders, int n,
					  TimestampTz now, int64 *units)
{
	Datum	   *ids = palloc(n * sizeof(Datum));
	Datum		args[4];
	int			expired;

	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(orders[i].order_id);
	args[0] = Int64GetDatum(item_id);
	args[1] = seckill_plan_int8_array(ids, n);
	args[2] = TimestampTzGetDatum(now);
	args[3] = ObjectIdGetDatum(seckill_catalog()->state[ORDER_PENDING]);
	expired = move_orders(&expire_plan, args, ORDER_EXPIRED);
	*units = 0;
	for (int i = 0; i < expired; i++)
		*units += DatumGetInt32(seckill_plan_result_column(i, 2, 0));
	SPI_freetuptable(SPI_tuptable);
	return expired;
}

static SqlPlan overdue_plan = {
	.sql = "SELECT item_id, order_id FROM seckill.orders"
	" WHERE state" EQ "'pending' AND pay_by" LE "$1"
	" AND item_id" NE "ALL ($2)"
	" ORDER BY pay_by OFFSET $3 LIMIT $4",
	.nargs = 4,
	.types = {TIMESTAMPTZOID, INT8ARRAYOID, INT8OID, INT8OID}
};

/*
 * Orders that are overdue, the oldest first, up to max of them.  Those of some
 * items are passed over, and of the others so many at the front.
 */
int
seckill_orders_overdue(TimestampTz now, const int64 *except, int nexcept,
					   int skip, OrderKey *orders, int max)
{
	Datum	   *ids = palloc(nexcept * sizeof(Datum));
	Datum		args[4];
	int			n;

	for (int i = 0; i < nexcept; i++)
		ids[i] = Int64GetDatum(except[i]);
	args[0] = TimestampTzGetDatum(now);
	args[1] = seckill_plan_int8_array(ids, nexcept);
	args[2] = Int64GetDatum(skip);
	args[3] = Int64GetDatum(max);
	n = (int) seckill_plan_run_latest(&overdue_plan, args, seckill_catalog()->orders_owner);
	for (int i = 0; i < n; i++)
	{
		orders[i].item_id = DatumGetInt64(seckill_plan_result_column(i, 1, 0));
		orders[i].order_id = DatumGetInt64(seckill_plan_result_column(i, 2, 0));
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

static SqlPlan next_pay_by_plan = {
	.sql = "SELECT pay_by FROM seckill.orders"
	" WHERE state" EQ "'pending' AND pay_by" GT "$1"
	" ORDER BY pay_by LIMIT 1",
	.nargs = 1,
	.types = {TIMESTAMPTZOID}
};

/* When the first pending order after a time is overdue. */
TimestampTz
seckill_orders_next_pay_by(TimestampTz after)
{
	Datum		args[] = {TimestampTzGetDatum(after)};

	return seckill_plan_first_time(&next_pay_by_plan, args, seckill_catalog()->orders_owner);
}

static SqlPlan limit_orders_plan = {
	.sql = "UPDATE seckill.orders SET limited = true"
	" WHERE item_id" EQ "$1 AND NOT limited"
	" AND state" EQ "ANY ('{pending,confirmed}')",
	.nargs = 1,
	.types = {INT8OID}
};

/* The item has a limit from now on: it counts for orders made before. */
void
seckill_orders_mark_limited(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	(void) run_on_orders(&limit_orders_plan, args);
}

static SqlPlan sold_on_lease_plan = {
	.sql = "SELECT pg_catalog.sum(quantity) FROM seckill.orders"
	" WHERE item_id" EQ "$1 AND lease_id" EQ "$2",
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/* Units of the orders that carry a lease; of all committed ones and ours. */
int64
seckill_orders_sold_on_lease(int64 item_id, int64 lease_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(lease_id)};
	int64		sold;

	(void) seckill_plan_run_latest(&sold_on_lease_plan, args,
								   seckill_catalog()->orders_owner);
	sold = DatumGetInt64(seckill_plan_result_column(0, 1, Int64GetDatum(0)));
	SPI_freetuptable(SPI_tuptable);
	return sold;
}

static SqlPlan has_orders_plan = {
	.sql = "SELECT 1 FROM seckill.orders WHERE item_id" EQ "$1 LIMIT 1",
	.nargs = 1,
	.types = {INT8OID}
};

bool
seckill_orders_exist(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	return seckill_plan_run_latest(&has_orders_plan, args,
								   seckill_catalog()->orders_owner) > 0;
}

static SqlPlan any_order_plan = {
	.sql = "SELECT 1 FROM seckill.orders LIMIT 1"
};

bool
seckill_orders_any(void)
{
	return seckill_plan_run_latest(&any_order_plan, NULL,
								   seckill_catalog()->orders_owner) > 0;
}
