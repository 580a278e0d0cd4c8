/*
 * booking_insert.c
 *		Inserts the orders of bookings, and reads their seats.
 *
 * The rows of the seats are locked and written before the order is inserted,
 * so these orders need no fence.  All functions run between
 * seckill_table_begin() and seckill_table_end(), as the owner of
 * seckill.orders.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/fault.h"
#include "shmem/schedule.h"
#include "table/booking_insert.h"
#include "table/plan.h"

#define INSERTED_COLUMNS \
	"item_id, order_id, user_id, quantity, request_id, limited, mode, pay_by," \
	" state, seats, seat_legs"

/* When an order that is made now must be paid; 0: it is confirmed already. */
static TimestampTz
pay_by(const Purchase *p, TimestampTz now)
{
	return p->rules.pay_within > 0 ? now + p->rules.pay_within : 0;
}

/* The seats of pieces as an array. */
static Datum
seats_array(const SeatPiece *pieces, int n)
{
	Datum	   *seats = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		seats[i] = Int32GetDatum(pieces[i].seat);
	return seckill_plan_int4_array(seats, n);
}

/* The legs of pieces as an array. */
static Datum
legs_array(const SeatPiece *pieces, int n)
{
	Datum	   *legs = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		legs[i] = Int64GetDatum((int64) pieces[i].legs);
	return seckill_plan_int8_array(legs, n);
}

/* Run an INSERT of orders as their owner; returns the number of rows. */
static uint64
run_insert(SqlPlan *plan, Datum *args, char *nulls)
{
	TableCaller owner;
	int			nest;
	int			rc;

	seckill_table_switch_user(seckill_catalog()->orders_owner, &owner);
	nest = seckill_plan_begin_generic();
	rc = SPI_execute_plan(seckill_plan_get(plan), args, nulls, false, 0);
	seckill_plan_end_generic(nest);
	seckill_table_restore_user(&owner);
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

static SqlPlan insert_one_plan = {
	.sql = "INSERT INTO seckill.orders (" INSERTED_COLUMNS ")"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
	.nargs = 11,
	.types = {INT8OID, INT8OID, INT8OID, INT4OID, UUIDOID, BOOLOID, MODE_TYPE,
	TIMESTAMPTZOID, STATE_TYPE, INT4ARRAYOID, INT8ARRAYOID}
};

/* Insert the order of one booking; returns the number of rows. */
static uint64
insert_one(const Purchase *p, TimestampTz now)
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
	args[6] = ObjectIdGetDatum(c->mode[p->selling_mode]);
	args[7] = TimestampTzGetDatum(pay_by(p, now));
	args[8] = ObjectIdGetDatum(c->state[p->rules.pay_within > 0 ?
										ORDER_PENDING : ORDER_CONFIRMED]);
	args[9] = seats_array(p->pieces, p->npieces);
	args[10] = legs_array(p->pieces, p->npieces);
	if (!p->has_request)
		nulls[4] = 'n';
	if (p->rules.pay_within == 0)
		nulls[7] = 'n';
	return run_insert(&insert_one_plan, args, nulls);
}

/*
 * The pieces of all bookings are two long arrays, of which each booking has
 * those from first to last.
 */
static SqlPlan insert_many_plan = {
	.sql = "INSERT INTO seckill.orders (" INSERTED_COLUMNS ")"
	" SELECT u.item_id, u.order_id, u.user_id, u.quantity, u.request_id,"
	" u.limited, $7, u.pay_by,"
	" CASE WHEN u.pay_by IS NULL THEN $9 ELSE $10 END,"
	" ($11)[u.first:u.last], ($12)[u.first:u.last]"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2),"
	" pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),"
	" pg_catalog.unnest($6), pg_catalog.unnest($8), pg_catalog.unnest($13),"
	" pg_catalog.unnest($14))"
	" AS u(item_id, order_id, user_id, quantity, request_id, limited, pay_by,"
	" first, last)",
	.nargs = 14,
	.types = {INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID,
		UUIDARRAYOID, BOOLARRAYOID, MODE_TYPE, TIMESTAMPTZARRAYOID,
		STATE_TYPE, STATE_TYPE, INT4ARRAYOID, INT8ARRAYOID, INT4ARRAYOID,
	INT4ARRAYOID}
};

/* Copy the pieces of all bookings to one array; returns how many. */
static int
gather_pieces(Purchase **list, int n, SeatPiece **pieces, Datum *first,
			  Datum *last)
{
	int			count = 0;

	for (int i = 0; i < n; i++)
		count += list[i]->npieces;
	*pieces = palloc(count * sizeof(SeatPiece));
	count = 0;
	for (int i = 0; i < n; i++)
	{
		memcpy(*pieces + count, list[i]->pieces,
			   list[i]->npieces * sizeof(SeatPiece));
		first[i] = Int32GetDatum(count + 1);
		count += list[i]->npieces;
		last[i] = Int32GetDatum(count);
	}
	return count;
}

/* Insert the orders of many bookings; returns the number of rows. */
static uint64
insert_many(Purchase **list, int n, TimestampTz now)
{
	const SeckillCatalog *c = seckill_catalog();
	Datum	   *column[9];
	bool	   *no_request = palloc(n * sizeof(bool));
	bool	   *no_pay_by = palloc(n * sizeof(bool));
	char		nulls[] = "              ";
	Datum		args[14];
	SeatPiece  *pieces;
	int			npieces;

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
	npieces = gather_pieces(list, n, &pieces, column[7], column[8]);
	for (int j = 0; j < 3; j++)
		args[j] = seckill_plan_int8_array(column[j], n);
	args[3] = seckill_plan_int4_array(column[3], n);
	args[4] = seckill_plan_array_with_nulls(column[4], no_request, n, UUIDOID,
											UUID_LEN, false, TYPALIGN_CHAR);
	args[5] = PointerGetDatum(construct_array(column[5], n, BOOLOID, 1, true,
											  TYPALIGN_CHAR));
	args[6] = ObjectIdGetDatum(c->mode[list[0]->selling_mode]);
	args[7] = seckill_plan_array_with_nulls(column[6], no_pay_by, n,
											TIMESTAMPTZOID,
											sizeof(TimestampTz),
											FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	args[8] = ObjectIdGetDatum(c->state[ORDER_CONFIRMED]);
	args[9] = ObjectIdGetDatum(c->state[ORDER_PENDING]);
	args[10] = seats_array(pieces, npieces);
	args[11] = legs_array(pieces, npieces);
	args[12] = seckill_plan_int4_array(column[7], n);
	args[13] = seckill_plan_int4_array(column[8], n);
	return run_insert(&insert_many_plan, args, nulls);
}

/*
 * Insert the orders of bookings that one mode has sold, whose pieces are taken
 * on their rows, and set their order_id, in ascending order.  A trigger that
 * skips the row is an error: it would lose the order while its seats are gone.
 */
void
seckill_bookings_insert(Purchase **list, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	uint64		inserted;

	for (int i = 0; i < n; i++)
		list[i]->order_id = nextval_internal(seckill_catalog()->order_ids,
											 false);
	inserted = n == 1 ? insert_one(list[0], now) : insert_many(list, n, now);
	if (inserted != (uint64) n)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("order of item " INT64_FORMAT " was not inserted",
						list[0]->item_id),
				 errhint("Look for a trigger or rule on seckill.orders that skips rows.")));
	for (int i = 0; i < n; i++)
		if (list[i]->rules.pay_within > 0)
			seckill_schedule_note(pay_by(list[i], now));
	SECKILL_FAULT("bookings inserted");
}


/*
 * Reading
 */

/*
 * Read the arrays seats and seat_legs of an order into new pieces; returns how
 * many.
 */
int
seckill_booking_read_arrays(Datum seats, Datum legs, SeatPiece **pieces)
{
	Datum	   *seat;
	Datum	   *mask;
	int			n;
	int			nmasks;

	deconstruct_array(DatumGetArrayTypeP(seats), INT4OID, sizeof(int32), true,
					  TYPALIGN_INT, &seat, NULL, &n);
	deconstruct_array(DatumGetArrayTypeP(legs), INT8OID, sizeof(int64),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &mask, NULL, &nmasks);
	if (n != nmasks)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("order has %d seats and legs of %d", n, nmasks)));
	*pieces = palloc(Max(n, 1) * sizeof(SeatPiece));
	for (int i = 0; i < n; i++)
	{
		(*pieces)[i].seat = DatumGetInt32(seat[i]);
		(*pieces)[i].legs = (uint64) DatumGetInt64(mask[i]);
	}
	return n;
}

static SqlPlan read_plan = {
	.sql = "SELECT seats, seat_legs FROM seckill.orders"
	" WHERE item_id" EQ "$1 AND order_id" EQ "$2 AND seats IS NOT NULL"
	" AND seat_legs IS NOT NULL",
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/*
 * Read the seats of an order, committed or our own, into new pieces; false if
 * there is no such order or it has none.
 */
bool
seckill_booking_read(int64 item_id, int64 order_id, SeatPiece **pieces, int *n)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id)};
	bool		found = seckill_plan_run_latest(&read_plan, args,
												seckill_catalog()->orders_owner) > 0;

	*n = 0;
	if (found)
		*n = seckill_booking_read_arrays(seckill_plan_result_column(0, 1, 0),
										 seckill_plan_result_column(0, 2, 0),
										 pieces);
	SPI_freetuptable(SPI_tuptable);
	return found;
}
