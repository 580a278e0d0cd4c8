/*
 * orders.c
 *		Statements on orders that exist: move them from state to state, find
 *		those that are due, read them.
 *
 * All functions run between seckill_table_begin() and seckill_table_end(), as
 * the owner of seckill.orders.  Each change of state is checked against the
 * state that the UPDATE returns.  Otherwise a trigger of the application that
 * skips or restores the row would cause its units to be returned again and
 * again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "base/catalog.h"
#include "base/check.h"
#include "seckill.h"
#include "table/booking_insert.h"
#include "table/orders.h"
#include "table/plan.h"

#define ONE_ORDER	"item_id" EQ "$1 AND order_id" EQ "$2"

/*
 * Confirming, cancelling and expiring
 */

/*
 * Run a statement on orders of one item, its first argument, as their owner.
 * Returns the number of rows processed.
 */
uint64
seckill_orders_run(SqlPlan *plan, Datum *args)
{
	return seckill_plan_run_as(plan, args, seckill_catalog()->orders_owner);
}

/* Report that the UPDATE of a locked order has not changed it. */
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
 * Run an UPDATE that moves orders of one item to a state and returns the
 * state, or NULL if the unit is not as it was set.  Raises an error if a
 * trigger has kept another state or unit.  Returns how
 * many it moved, and leaves its result for the caller to free.
 */
static int
move_orders(SqlPlan *plan, Datum *args, OrderState to)
{
	int			moved = (int) seckill_orders_run(plan, args);

	for (int i = 0; i < moved; i++)
		if (DatumGetObjectId(seckill_plan_result_column(i, 1, ObjectIdGetDatum(InvalidOid))) !=
			seckill_catalog()->state[to])
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
					 errmsg("order of item " INT64_FORMAT " was not updated",
							DatumGetInt64(args[0])),
					 errhint("Look for a trigger on seckill.orders that changes the state or the unit.")));
	return moved;
}

/*
 * Run an UPDATE that moves one order, its second argument, to a state; false
 * if it found none to move.
 */
static bool
move_order(SqlPlan *plan, Datum *args, OrderState to)
{
	bool		moved = move_orders(plan, args, to) > 0;

	SPI_freetuptable(SPI_tuptable);
	return moved;
}

/* Run an UPDATE of an order that the caller has locked; it must find it. */
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

/* Confirm the order if it is pending; false if it is not. */
bool
seckill_orders_confirm(int64 item_id, int64 order_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id),
	ObjectIdGetDatum(seckill_catalog()->state[ORDER_PENDING])};

	return move_order(&confirm_plan, args, ORDER_CONFIRMED);
}

/* The state that a value of seckill_order_state stands for. */
OrderState
seckill_orders_state_of(Oid value)
{
	const SeckillCatalog *c = seckill_catalog();

	for (int i = 0; i < ORDER_STATES; i++)
		if (c->state[i] == value)
			return (OrderState) i;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("order has an unknown state")));
}

static SqlPlan has_order_plan = {
	.sql = "SELECT 1 FROM seckill.orders WHERE " ONE_ORDER,
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/* Is there such an order, under the latest snapshot? */
static bool
has_order(int64 item_id, int64 order_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id)};

	return seckill_plan_run_latest(&has_order_plan, args,
								   seckill_catalog()->orders_owner) > 0;
}

/*
 * Read seats and seat_legs, which are column and column + 1 of row i of the
 * last result, into new pieces; returns how many, 0 for an order of units.
 */
static int
read_pieces(uint64 i, int column, SeatPiece **pieces)
{
	Datum		seats = seckill_plan_result_column(i, column, 0);
	Datum		legs = seckill_plan_result_column(i, column + 1, 0);

	return seats != 0 && legs != 0 ?
		seckill_booking_read_arrays(seats, legs, pieces) : 0;
}

static SqlPlan lock_order_plan = {
	.sql = "SELECT user_id, quantity, state, created_at, unit, seats,"
	" seat_legs FROM seckill.orders"
	" WHERE " ONE_ORDER " FOR NO KEY UPDATE",
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/*
 * Lock an order, waiting for another transaction that has it locked, and read
 * it; false if there is none.  An order that the transaction's snapshot is too
 * old to see is a serialization failure.
 */
bool
seckill_orders_lock(int64 item_id, int64 order_id, OrderRow *row)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id)};

	if (seckill_orders_run(&lock_order_plan, args) == 0)
	{
		if (IsolationUsesXactSnapshot() && has_order(item_id, order_id))
			seckill_serialization_failure();
		return false;
	}
	row->user_id = DatumGetInt64(seckill_plan_result_column(0, 1, Int64GetDatum(0)));
	row->quantity = DatumGetInt32(seckill_plan_result_column(0, 2, 0));
	row->state = seckill_orders_state_of(DatumGetObjectId(seckill_plan_result_column(0, 3, 0)));
	row->unit = DatumGetInt32(seckill_plan_result_column(0, 5, 0));
	row->created_at = DatumGetTimestampTz(seckill_plan_result_column(0, 4, TimestampTzGetDatum(0)));
	row->npieces = read_pieces(0, 6, &row->pieces);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

static SqlPlan confirm_late_plan = {
	.sql = "UPDATE seckill.orders SET state = 'confirmed', limited = $3,"
	" unit = CASE WHEN $4" GT "0 THEN $4 END"
	" WHERE " ONE_ORDER
	" RETURNING CASE WHEN coalesce(unit, 0)" EQ "$4 THEN state END",
	.nargs = 4,
	.types = {INT8OID, INT8OID, BOOLOID, INT4OID}
};

/*
 * Confirm a locked order that has expired.  limited says whether it counts for
 * a limit per user from now on; unit is the number of its new unit, or 0.
 */
void
seckill_orders_confirm_late(int64 item_id, int64 order_id, bool limited,
							int32 unit)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id),
	BoolGetDatum(limited), Int32GetDatum(unit)};

	update_order(&confirm_late_plan, args, ORDER_CONFIRMED);
}

static SqlPlan cancel_plan = {
	.sql = "UPDATE seckill.orders SET state = 'cancelled', limited = false,"
	" unit = CASE WHEN $3 THEN unit END"
	" WHERE " ONE_ORDER
	" RETURNING CASE WHEN (unit IS NOT NULL)" EQ "$3 THEN state END",
	.nargs = 3,
	.types = {INT8OID, INT8OID, BOOLOID}
};

/*
 * Cancel a locked order; it counts for no limit any more.  keeps_unit says
 * whether it keeps the number of its unit.
 */
void
seckill_orders_cancel(int64 item_id, int64 order_id, bool keeps_unit)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id),
	BoolGetDatum(keeps_unit)};

	update_order(&cancel_plan, args, ORDER_CANCELLED);
}

static SqlPlan lock_overdue_plan = {
	.sql = "SELECT order_id, unit FROM seckill.orders"
	" WHERE item_id" EQ "$1 AND order_id" EQ "ANY ($2)"
	" AND state" EQ "$4 AND pay_by" LE "$3"
	" FOR NO KEY UPDATE SKIP LOCKED",
	.nargs = 4,
	.types = {INT8OID, INT8ARRAYOID, TIMESTAMPTZOID, STATE_TYPE}
};

/*
 * Of the given orders of an item whose units have numbers, lock those that are
 * still overdue and that no other transaction has locked.  Returns how many,
 * with their keys and numbers.
 */
int
seckill_orders_lock_overdue(int64 item_id, const DueKey *orders, int n,
							TimestampTz now, DueKey *locked, int32 *numbers)
{
	Datum		args[] = {Int64GetDatum(item_id),
		seckill_due_numbers(orders, n), TimestampTzGetDatum(now),
	ObjectIdGetDatum(seckill_catalog()->state[ORDER_PENDING])};
	int			found = (int) seckill_orders_run(&lock_overdue_plan, args);

	for (int i = 0; i < found; i++)
	{
		locked[i].item_id = item_id;
		locked[i].number = DatumGetInt64(seckill_plan_result_column(i, 1, 0));
		numbers[i] = DatumGetInt32(seckill_plan_result_column(i, 2, 0));
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

#define EXPIRE(also, state) \
	"WITH late AS MATERIALIZED (" \
	"SELECT ctid, unit FROM seckill.orders" \
	" WHERE item_id" EQ "$1 AND order_id" EQ "ANY ($2)" \
	" AND state" EQ "$4 AND pay_by" LE "$3" \
	" FOR NO KEY UPDATE SKIP LOCKED)" \
	" UPDATE seckill.orders o SET state = 'expired', limited = false" also \
	" FROM late WHERE o.ctid" EQ "late.ctid" \
	" RETURNING " state ", o.quantity, late.unit, o.seats, o.seat_legs"

static SqlPlan expire_plan = {
	.sql = EXPIRE("", "o.state"),
	.nargs = 4,
	.types = {INT8OID, INT8ARRAYOID, TIMESTAMPTZOID, STATE_TYPE}
};

static SqlPlan expire_numbered_plan = {
	.sql = EXPIRE(", unit = NULL", "CASE WHEN o.unit IS NULL THEN o.state END"),
	.nargs = 4,
	.types = {INT8OID, INT8ARRAYOID, TIMESTAMPTZOID, STATE_TYPE}
};

/*
 * Add the seats of order i of the result to the returned ones; false if it is
 * an order of units.
 */
static bool
add_pieces(uint64 i, ReturnedUnits *returned)
{
	SeatPiece  *pieces;
	int			n = read_pieces(i, 4, &pieces);

	if (n == 0)
		return false;
	returned->pieces = returned->npieces == 0 ?
		palloc(n * sizeof(SeatPiece)) :
		repalloc(returned->pieces,
				 (returned->npieces + n) * sizeof(SeatPiece));
	memcpy(returned->pieces + returned->npieces, pieces,
		   n * sizeof(SeatPiece));
	returned->npieces += n;
	pfree(pieces);
	return true;
}

/* Add the units or seats of order i of the result to the returned ones. */
static void
add_returned(uint64 i, ReturnedUnits *returned)
{
	if (add_pieces(i, returned))
		return;
	if (returned->numbers == NULL)
		returned->units += DatumGetInt32(seckill_plan_result_column(i, 2, 0));
	else
		returned->numbers[returned->units++] =
			DatumGetInt32(seckill_plan_result_column(i, 3, 0));
}

/*
 * Of the given orders of an item, expire those that are still overdue and that
 * no other transaction has locked.  Orders with numbers keep them if
 * keep_units is true.  Returns how many expired, and their units or seats.
 */
int
seckill_orders_expire(int64 item_id, bool numbered, bool keep_units,
					  const DueKey *orders, int n, TimestampTz now,
					  ReturnedUnits *returned)
{
	Datum		args[4];
	int			expired;

	returned->units = 0;
	returned->npieces = 0;
	returned->numbers = numbered ? palloc(n * sizeof(int32)) : NULL;
	args[0] = Int64GetDatum(item_id);
	args[1] = seckill_due_numbers(orders, n);
	args[2] = TimestampTzGetDatum(now);
	args[3] = ObjectIdGetDatum(seckill_catalog()->state[ORDER_PENDING]);
	expired = move_orders(numbered && !keep_units ? &expire_numbered_plan :
						  &expire_plan, args, ORDER_EXPIRED);
	for (int i = 0; i < expired; i++)
		add_returned(i, returned);
	SPI_freetuptable(SPI_tuptable);
	return expired;
}

static SqlPlan drop_units_plan = {
	.sql = "UPDATE seckill.orders SET unit = NULL"
	" WHERE item_id" EQ "$1 AND unit" EQ "ANY ($2)"
	" RETURNING CASE WHEN unit IS NULL THEN state END",
	.nargs = 2,
	.types = {INT8OID, INT4ARRAYOID}
};

/*
 * Take these numbers from the locked orders that have them; an error if a
 * trigger keeps one.
 */
void
seckill_orders_drop_units(int64 item_id, const int32 *numbers, int n)
{
	Datum	   *units = palloc(n * sizeof(Datum));
	Datum		args[2];

	for (int i = 0; i < n; i++)
		units[i] = Int32GetDatum(numbers[i]);
	args[0] = Int64GetDatum(item_id);
	args[1] = seckill_plan_int4_array(units, n);
	if (move_orders(&drop_units_plan, args, ORDER_EXPIRED) != n)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("orders of item " INT64_FORMAT " were not updated",
						item_id),
				 errhint("Look for a trigger or rule on seckill.orders that skips rows.")));
	SPI_freetuptable(SPI_tuptable);
}


/*
 * Orders that are due
 */

static SqlPlan overdue_plan = {
	.sql = "SELECT item_id, order_id FROM seckill.orders"
	" WHERE state" EQ "'pending' AND pay_by" LE "$1"
	" AND item_id" NE "ALL ($2)"
	" ORDER BY pay_by OFFSET $3 LIMIT $4",
	.nargs = 4,
	.types = {TIMESTAMPTZOID, INT8ARRAYOID, INT8OID, INT8OID}
};

/* Find overdue orders; see seckill_due_read(). */
int
seckill_orders_overdue(TimestampTz now, const int64 *except, int nexcept,
					   int skip, DueKey *orders, int max)
{
	return seckill_due_read(&overdue_plan, seckill_catalog()->orders_owner, now,
							except, nexcept, skip, orders, max);
}

static SqlPlan next_pay_by_plan = {
	.sql = "SELECT pay_by FROM seckill.orders"
	" WHERE state" EQ "'pending' AND pay_by" GT "$1"
	" ORDER BY pay_by LIMIT 1",
	.nargs = 1,
	.types = {TIMESTAMPTZOID}
};

/*
 * When the first pending order that must be paid after a time is overdue;
 * DT_NOEND: there is none.
 */
TimestampTz
seckill_orders_next_pay_by(TimestampTz after)
{
	Datum		args[] = {TimestampTzGetDatum(after)};

	return seckill_plan_first_time(&next_pay_by_plan, args, seckill_catalog()->orders_owner);
}


/*
 * Orders of an item
 */

static SqlPlan limit_orders_plan = {
	.sql = "UPDATE seckill.orders SET limited = true"
	" WHERE item_id" EQ "$1 AND NOT limited"
	" AND state" EQ "ANY ('{pending,confirmed}')",
	.nargs = 1,
	.types = {INT8OID}
};

/*
 * The item has a limit from now on: let the orders made before count for it.
 */
void
seckill_orders_mark_limited(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	(void) seckill_orders_run(&limit_orders_plan, args);
}

static SqlPlan sold_on_lease_plan = {
	.sql = "SELECT pg_catalog.sum(quantity) FROM seckill.orders"
	" WHERE item_id" EQ "$1 AND lease_id" EQ "$2",
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/*
 * The units of the orders that carry a lease, all committed ones and our own,
 * whatever their state.
 */
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

/* Does the item have an order? */
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

/* Does any item have an order? */
bool
seckill_orders_any(void)
{
	return seckill_plan_run_latest(&any_order_plan, NULL,
								   seckill_catalog()->orders_owner) > 0;
}

static SqlPlan any_pending_plan = {
	.sql = "SELECT 1 FROM seckill.orders"
	" WHERE item_id" EQ "$1 AND state" EQ "$2 LIMIT 1",
	.nargs = 2,
	.types = {INT8OID, STATE_TYPE}
};

/* Does the item have a pending order? */
bool
seckill_orders_any_pending(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id),
	ObjectIdGetDatum(seckill_catalog()->state[ORDER_PENDING])};

	return seckill_plan_run_latest(&any_pending_plan, args,
								   seckill_catalog()->orders_owner) > 0;
}

static SqlPlan read_unit_plan = {
	.sql = "SELECT unit, state FROM seckill.orders WHERE " ONE_ORDER,
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/*
 * Read the number of an order's unit, 0 if it has none, and its state, the
 * latest committed ones or our own; false if there is no such order.
 */
bool
seckill_orders_read_unit(int64 item_id, int64 order_id, int32 *unit,
						 OrderState *state)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id)};

	if (seckill_plan_run_latest(&read_unit_plan, args,
								seckill_catalog()->orders_owner) == 0)
		return false;
	*unit = DatumGetInt32(seckill_plan_result_column(0, 1, 0));
	*state = seckill_orders_state_of(DatumGetObjectId(seckill_plan_result_column(0, 2, 0)));
	SPI_freetuptable(SPI_tuptable);
	return true;
}

static SqlPlan read_order_plan = {
	.sql = "SELECT user_id, quantity, state, created_at, pay_by, mode, request_id"
	" FROM seckill.orders WHERE " ONE_ORDER,
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/*
 * Read the ORDER_DETAILS columns of an order, the latest committed ones or our
 * own; false if there is no such order.
 */
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
