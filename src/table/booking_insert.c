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
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/fault.h"
#include "shmem/stat.h"
#include "table/booking_insert.h"
#include "table/new_orders.h"
#include "table/order_direct.h"
#include "table/plan.h"

static SqlPlan insert_one_plan = {
	.sql = "INSERT INTO seckill.orders (" NEW_ORDER_COLUMNS ", seats, seat_legs)"
	" VALUES (" NEW_ORDER_VALUES ", $11, $12)",
	.nargs = NEW_ORDER_ARGS + 2,
	.types = {NEW_ORDER_TYPES, INT4ARRAYOID, INT8ARRAYOID}
};

/* Insert the order of one booking; returns the number of rows. */
static uint64
insert_one(const Purchase *p, const NewOrders *new)
{
	Datum		args[NEW_ORDER_ARGS + 2];
	char		nulls[NEW_ORDER_ARGS + 2];

	seckill_new_order_args(p, new, args, nulls);
	args[NEW_ORDER_ARGS] = seckill_new_order_seats(p->pieces, p->npieces);
	args[NEW_ORDER_ARGS + 1] = seckill_new_order_legs(p->pieces, p->npieces);
	memset(nulls + NEW_ORDER_ARGS, ' ', 2);
	return seckill_new_orders_run(&insert_one_plan, args, nulls, new);
}

/*
 * The pieces of all bookings are two long arrays, of which each booking has
 * those from first to last.
 */
static SqlPlan insert_many_plan = {
	.sql = "INSERT INTO seckill.orders (" NEW_ORDER_COLUMNS ", seats, seat_legs)"
	" SELECT " NEW_ORDERS_VALUES ","
	" ($12)[u.first:u.last], ($13)[u.first:u.last]"
	" FROM ROWS FROM (" NEW_ORDERS_UNNEST ","
	" pg_catalog.unnest($14), pg_catalog.unnest($15))"
	" AS u(" NEW_ORDERS_NAMES ", first, last)",
	.nargs = NEW_ORDERS_ARGS + 4,
	.types = {NEW_ORDERS_TYPES, INT4ARRAYOID, INT8ARRAYOID, INT4ARRAYOID,
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
insert_many(Purchase **list, int n, const NewOrders *new)
{
	Datum	   *first = palloc(n * sizeof(Datum));
	Datum	   *last = palloc(n * sizeof(Datum));
	SeatPiece  *pieces;
	int			npieces = gather_pieces(list, n, &pieces, first, last);
	Datum		args[NEW_ORDERS_ARGS + 4];
	char		nulls[NEW_ORDERS_ARGS + 4];

	seckill_new_orders_args(list, n, new, args, nulls);
	args[NEW_ORDERS_ARGS] = seckill_new_order_seats(pieces, npieces);
	args[NEW_ORDERS_ARGS + 1] = seckill_new_order_legs(pieces, npieces);
	args[NEW_ORDERS_ARGS + 2] = seckill_plan_int4_array(first, n);
	args[NEW_ORDERS_ARGS + 3] = seckill_plan_int4_array(last, n);
	memset(nulls + NEW_ORDERS_ARGS, ' ', 4);
	return seckill_new_orders_run(&insert_many_plan, args, nulls, new);
}

/*
 * Insert the orders of bookings that one mode has sold, whose pieces are taken
 * on their rows, and set their order_id, in ascending order.
 */
void
seckill_bookings_insert(Purchase **list, int n)
{
	NewOrders	new = {
		.mode = list[0]->selling_mode,
		.created_at = GetCurrentTimestamp(),
		.snapshot = InvalidSnapshot
	};
	uint64		inserted;

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
