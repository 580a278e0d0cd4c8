/*
 * seats.c
 *		Statements on seckill.seats.
 *
 * All functions run between seckill_table_begin() and seckill_table_end(), and
 * as the owner of seckill.seats.  Rows are locked in ascending order of their
 * seats: the pieces of a call are, and have each seat once.  So two calls
 * cannot wait for each other.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "base/catalog.h"
#include "base/fault.h"
#include "shmem/stat.h"
#include "table/orders.h"
#include "table/plan.h"
#include "table/seat_direct.h"
#include "table/seats.h"

/* Pieces in one statement: it finds those of a seat by a search. */
#define CHUNK	64

/* The legs for a row of seckill.seats, of a statement on many seats. */
#define LEGS_OF_ROW \
	"($3)[pg_catalog.array_position($2, seat)]"

#define MANY_SEATS	"item_id" EQ "$1 AND seat" EQ "ANY ($2)"

/*
 * Run a statement on the rows of at most CHUNK pieces as their owner; its
 * arguments are item, seats and legs.  Returns the number of rows.
 */
static int
run_on_seats(SqlPlan *plan, int64 item_id, const SeatPiece *pieces, int n)
{
	Datum		seats[CHUNK];
	Datum		legs[CHUNK];
	Datum		args[3];
	uint64		processed;

	Assert(n <= CHUNK);
	for (int i = 0; i < n; i++)
	{
		seats[i] = Int32GetDatum(pieces[i].seat);
		legs[i] = Int64GetDatum((int64) pieces[i].legs);
	}
	args[0] = Int64GetDatum(item_id);
	args[1] = seckill_plan_int4_array(seats, n);
	args[2] = seckill_plan_int8_array(legs, n);
	processed = seckill_plan_run_as(plan, args,
									seckill_catalog()->seats_owner);
	pfree(DatumGetPointer(args[1]));
	pfree(DatumGetPointer(args[2]));
	return (int) processed;
}

/* Read the rows (seat, taken) of the last result, and free it. */
static void
read_rows(SeatPiece *rows, int n)
{
	for (int i = 0; i < n; i++)
	{
		rows[i].seat = DatumGetInt32(seckill_plan_result_column(i, 1, 0));
		rows[i].legs = (uint64)
			DatumGetInt64(seckill_plan_result_column(i, 2, Int64GetDatum(0)));
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Run a statement that returns rows (seat, taken) on any number of pieces.
 * Returns how many rows.
 */
static int
run_in_chunks(SqlPlan *plan, int64 item_id, const SeatPiece *pieces, int n,
			  SeatPiece *rows)
{
	int			found = 0;

	for (int first = 0; first < n; first += CHUNK)
	{
		int			k = run_on_seats(plan, item_id, pieces + first,
									 Min(n - first, CHUNK));

		read_rows(rows + found, k);
		found += k;
	}
	return found;
}


/*
 * Taking and returning
 */

static SqlPlan take_one_plan = {
	.sql = "UPDATE seckill.seats SET taken = taken" BITOR "$3"
	" WHERE item_id" EQ "$1 AND seat" EQ "$2"
	" AND taken" BITAND "$3" EQ "0 RETURNING seat, taken",
	.nargs = 3,
	.types = {INT8OID, INT4OID, INT8OID}
};

static SqlPlan take_many_plan = {
	.sql = "UPDATE seckill.seats SET taken = taken" BITOR LEGS_OF_ROW
	" WHERE " MANY_SEATS
	" AND taken" BITAND LEGS_OF_ROW EQ "0 RETURNING seat, taken",
	.nargs = 3,
	.types = {INT8OID, INT4ARRAYOID, INT8ARRAYOID}
};

/* Take one piece; see seckill_seats_take(). */
static int
take_one(int64 item_id, const SeatPiece *piece, SeatPiece *row)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(piece->seat),
	Int64GetDatum((int64) piece->legs)};
	int			taken;

	taken = (int) seckill_plan_run_as(&take_one_plan, args,
									  seckill_catalog()->seats_owner);
	read_rows(row, taken);
	return taken;
}

/* Take pieces by SQL; returns how many. */
static int
take_by_sql(int64 item_id, const SeatPiece *pieces, int n, SeatPiece *rows)
{
	seckill_stat_count(SECKILL_STAT_SQL_WRITES, 1);
	return n == 1 ? take_one(item_id, pieces, rows) :
		run_in_chunks(&take_many_plan, item_id, pieces, n, rows);
}

/*
 * The guard: take the legs of all pieces, if they are free, and set rows to
 * what is taken of their seats then.  Waits for other transactions that have
 * the rows locked.  Returns false if a leg is not free, or a seat is not
 * there; the caller then undoes what was done, and so releases the rows.  The
 * caller has called seckill_relation_lock_seats().
 */
bool
seckill_seats_take(int64 item_id, const SeatPiece *pieces, int n,
				   SeatPiece *rows)
{
	int			taken;
	DirectResult result = seckill_seats_take_direct(item_id, pieces, n, rows,
													&taken);

	if (result == DIRECT_NEEDS_SQL)
		taken += take_by_sql(item_id, pieces + taken, n - taken, rows + taken);
	SECKILL_FAULT("seats taken");
	return taken == n;
}

static SqlPlan lock_plan = {
	.sql = "SELECT seat, taken FROM seckill.seats"
	" WHERE " MANY_SEATS ""
	" ORDER BY seat FOR NO KEY UPDATE",
	.nargs = 3,
	.types = {INT8OID, INT4ARRAYOID, INT8ARRAYOID}
};

static SqlPlan try_lock_plan = {
	.sql = "SELECT seat, taken FROM seckill.seats"
	" WHERE " MANY_SEATS ""
	" ORDER BY seat FOR NO KEY UPDATE SKIP LOCKED",
	.nargs = 3,
	.types = {INT8OID, INT4ARRAYOID, INT8ARRAYOID}
};

/*
 * Lock the rows of pieces, those that others have locked only if may_wait, and
 * set rows to what is taken of their seats.  Returns how many.
 */
int
seckill_seats_lock(int64 item_id, const SeatPiece *pieces, int n,
				   bool may_wait, SeatPiece *rows)
{
	return run_in_chunks(may_wait ? &lock_plan : &try_lock_plan, item_id,
						 pieces, n, rows);
}

static SqlPlan lock_all_plan = {
	.sql = "SELECT 1 FROM seckill.seats WHERE item_id" EQ "$1"
	" ORDER BY seat FOR NO KEY UPDATE",
	.nargs = 1,
	.types = {INT8OID}
};

/* Lock the rows of all seats of an item that are committed, or our own. */
void
seckill_seats_lock_all(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	(void) seckill_plan_run_as(&lock_all_plan, args,
							   seckill_catalog()->seats_owner);
	SPI_freetuptable(SPI_tuptable);
}

static SqlPlan overwrite_plan = {
	.sql = "UPDATE seckill.seats SET taken = " LEGS_OF_ROW
	" WHERE " MANY_SEATS " RETURNING seat, taken",
	.nargs = 3,
	.types = {INT8OID, INT4ARRAYOID, INT8ARRAYOID}
};

/* Set what is taken of seats, whatever it is by now, as mode "none" does. */
void
seckill_seats_overwrite(int64 item_id, const SeatPiece *pieces, int n)
{
	SeatPiece  *rows = palloc(n * sizeof(SeatPiece));

	(void) run_in_chunks(&overwrite_plan, item_id, pieces, n, rows);
	pfree(rows);
}

static SqlPlan return_plan = {
	.sql = "UPDATE seckill.seats"
	" SET taken = taken" BITAND "OPERATOR(pg_catalog.~)" LEGS_OF_ROW
	" WHERE " MANY_SEATS " RETURNING seat, taken",
	.nargs = 3,
	.types = {INT8OID, INT4ARRAYOID, INT8ARRAYOID}
};

/*
 * Return the legs of orders that are no longer live.  Waits for other
 * transactions that have the rows locked.  A seat that is not there any more
 * is skipped.
 */
void
seckill_seats_return(int64 item_id, const SeatPiece *pieces, int n)
{
	SeatPiece  *rows = palloc(n * sizeof(SeatPiece));

	(void) run_in_chunks(&return_plan, item_id, pieces, n, rows);
	pfree(rows);
	SECKILL_FAULT("seats returned");
}


/*
 * Which seats there are
 */

static SqlPlan find_plan = {
	.sql = "SELECT seat, taken FROM seckill.seats"
	" WHERE " MANY_SEATS "",
	.nargs = 3,
	.types = {INT8OID, INT4ARRAYOID, INT8ARRAYOID}
};

/* How many of the seats of pieces are there? */
int
seckill_seats_count(int64 item_id, const SeatPiece *pieces, int n)
{
	SeatPiece  *rows = palloc(n * sizeof(SeatPiece));
	int			found = run_in_chunks(&find_plan, item_id, pieces, n, rows);

	pfree(rows);
	return found;
}

static SqlPlan free_plan = {
	.sql = "SELECT 1 FROM seckill.seats WHERE item_id" EQ "$1"
	" AND taken OPERATOR(pg_catalog.<>) $2 LIMIT 1",
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};

/* Has the item, which has so many legs, a seat of which one is not taken? */
bool
seckill_seats_any_free(int64 item_id, int nlegs)
{
	Datum		args[] = {Int64GetDatum(item_id),
	Int64GetDatum((int64) seat_trip_legs(0, nlegs))};

	return seckill_plan_run_latest(&free_plan, args,
								   seckill_catalog()->seats_owner) > 0;
}

static SqlPlan delete_plan = {
	.sql = "DELETE FROM seckill.seats WHERE item_id" EQ "$1",
	.nargs = 1,
	.types = {INT8OID}
};

/* Delete the seats of an item that is deleted. */
void
seckill_seats_delete(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	(void) seckill_plan_run_as(&delete_plan, args,
							   seckill_catalog()->seats_owner);
	SECKILL_FAULT("seats deleted");
}

static SqlPlan any_plan = {
	.sql = "SELECT 1 FROM seckill.seats LIMIT 1"
};

/* Is there any seat? */
bool
seckill_seats_any(void)
{
	return seckill_plan_run_latest(&any_plan, NULL,
								   seckill_catalog()->seats_owner) > 0;
}

static SqlPlan items_plan = {
	.sql = "SELECT item_id FROM seckill.items WHERE legs IS NOT NULL"
};

/*
 * Has any item with seats an order?  Items and orders may have different
 * owners, so no statement joins them.
 */
bool
seckill_seats_any_sold(void)
{
	uint64		n = seckill_plan_run_latest(&items_plan, NULL,
											seckill_catalog()->owner);
	int64	   *items = palloc_extended(Max(n, 1) * sizeof(int64),
										MCXT_ALLOC_HUGE);
	bool		sold = false;

	for (uint64 i = 0; i < n; i++)
		items[i] = DatumGetInt64(seckill_plan_result_column(i, 1, Int64GetDatum(0)));
	SPI_freetuptable(SPI_tuptable);
	for (uint64 i = 0; i < n && !sold; i++)
		sold = seckill_orders_exist(items[i]);
	pfree(items);
	return sold;
}

static SqlPlan describe_plan = {
	.sql = "SELECT seat, block, car, label, taken FROM seckill.seats"
	" WHERE item_id" EQ "$1 ORDER BY seat",
	.nargs = 1,
	.types = {INT8OID}
};

/*
 * Read the seats of an item, the latest committed rows and our own; returns
 * how many rows seckill_seats_described() can be asked for.
 */
uint64
seckill_seats_describe(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	return seckill_plan_run_latest(&describe_plan, args,
								   seckill_catalog()->seats_owner);
}

/* Row i that was read: seat, block, car, label, taken. */
void
seckill_seats_described(uint64 i, Datum *values, bool *nulls)
{
	for (int column = 1; column <= 5; column++)
		values[column - 1] = SPI_getbinval(SPI_tuptable->vals[i],
										   SPI_tuptable->tupdesc, column,
										   &nulls[column - 1]);
}
