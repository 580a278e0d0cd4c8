/*
 * book_sql.c
 *		seckill_book() and seckill_block_seats().
 *
 * A booking passes the same checks as a purchase, and asks for a trip.  In
 * mode "queue" the worker chooses the seats, and they are read from the order
 * after that.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "api/buy.h"
#include "api/purchase_args.h"
#include "api/result.h"
#include "base/catalog.h"
#include "base/check.h"
#include "base/fault.h"
#include "sale/book.h"
#include "sale/place.h"
#include "sale/rules.h"
#include "seckill.h"
#include "shmem/stat.h"
#include "table/booking_insert.h"
#include "table/item_row.h"
#include "table/plan.h"
#include "xact/changes.h"

PG_FUNCTION_INFO_V1(seckill_book);
PG_FUNCTION_INFO_V1(seckill_block_seats);


/*
 * Arguments
 */

/* Read argument i as a number from low to high; raises an error otherwise. */
static int
read_number(FunctionCallInfo fcinfo, int i, const char *name, int64 low,
			int64 high)
{
	int64		number;

	seckill_check_argument(PG_ARGISNULL(i), name);
	number = PG_GETARG_INT64(i);
	if (number < low || number > high)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between " INT64_FORMAT " and " INT64_FORMAT,
						name, low, high),
				 errdetail("It is " INT64_FORMAT ".", number)));
	return (int) number;
}

/* Read arguments i and i + 1 as the stops of a trip. */
static void
read_stops(FunctionCallInfo fcinfo, int i, SeatTrip *trip)
{
	trip->from = read_number(fcinfo, i, "from_stop", 0, SEAT_MAX_LEGS - 1);
	trip->to = read_number(fcinfo, i + 1, "to_stop", 1, SEAT_MAX_LEGS);
	if (trip->from >= trip->to)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("from_stop must be less than to_stop"),
				 errdetail("They are %d and %d.", trip->from, trip->to)));
}

/* Is a text this word? */
static bool
is_text(const text *t, const char *word)
{
	size_t		length = VARSIZE_ANY_EXHDR(t);

	return length == strlen(word) && memcmp(VARDATA_ANY(t), word, length) == 0;
}

/* Read argument i as how close the seats must be. */
static SeatTogether
read_together(FunctionCallInfo fcinfo, int i)
{
	const text *together;

	seckill_check_argument(PG_ARGISNULL(i), "together");
	together = PG_GETARG_TEXT_PP(i);
	if (is_text(together, "prefer"))
		return TOGETHER_PREFER;
	if (is_text(together, "need"))
		return TOGETHER_NEED;
	if (is_text(together, "any"))
		return TOGETHER_ANY;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("together must be need, prefer or any"),
			 errdetail("It is \"%s\".", text_to_cstring(together))));
}

static int
compare_seats(const void *a, const void *b)
{
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	return x < y ? -1 : x > y;
}

/*
 * Read argument i as numbers of seats, each once; raises an error if there are
 * none, or more than max.  Sets *n to how many.
 */
static int32 *
read_seats(FunctionCallInfo fcinfo, int i, int max, int *n)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(i);
	Datum	   *values;
	bool	   *nulls;
	int32	   *seats;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must have one dimension", "seats")));
	deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &values, &nulls, n);
	if (*n < 1 || *n > max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("seats must have 1 to %d elements", max),
				 errdetail("It has %d.", *n)));
	seats = palloc(*n * sizeof(int32));
	for (int j = 0; j < *n; j++)
	{
		int64		seat;

		seckill_check_argument(nulls[j], "an element of seats");
		seat = DatumGetInt64(values[j]);
		if (seat < PG_INT32_MIN || seat > PG_INT32_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("seat " INT64_FORMAT " is out of range", seat)));
		seats[j] = (int32) seat;
	}
	qsort(seats, *n, sizeof(int32), compare_seats);
	for (int j = 1; j < *n; j++)
		if (seats[j] == seats[j - 1])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("seat %d is named twice", seats[j])));
	return seats;
}

/* Read the seats that a booking names, if it does. */
static void
read_named_seats(FunctionCallInfo fcinfo, Purchase *p)
{
	int			n;

	if (PG_ARGISNULL(8))
		return;
	p->named_seats = read_seats(fcinfo, 8, SEAT_MAX_QUANTITY, &n);
	if (n != p->quantity || p->trip.max_changes > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a booking that names its seats must have as many as quantity says, and no changes"),
				 errdetail("It has %d seats, quantity %d and max_changes %d.",
						   n, p->quantity, p->trip.max_changes)));
	if (p->mode == SECKILL_MODE_QUEUE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("mode \"queue\" cannot book seats that are named"),
				 errhint("Use mode \"auto\" for them.")));
}

/* Read the arguments of seckill_book() and check them all. */
static void
read_arguments(FunctionCallInfo fcinfo, Purchase *p)
{
	SeatTrip	trip = {0};

	seckill_check_writable("seckill_book()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "user_id");
	seckill_check_argument(PG_ARGISNULL(5), "mode");
	read_stops(fcinfo, 2, &trip);
	trip.together = read_together(fcinfo, 6);
	trip.max_changes = read_number(fcinfo, 7, "max_changes", 0,
								   SEAT_MAX_LEGS - 1);
	seckill_args_init_purchase(p, PG_GETARG_INT64(0), PG_GETARG_INT64(1),
							   read_number(fcinfo, 4, "quantity", 1,
										   SEAT_MAX_QUANTITY),
							   seckill_catalog_mode(PG_GETARG_OID(5)));
	p->trip = trip;
	read_named_seats(fcinfo, p);
	if (p->mode == SECKILL_MODE_QUEUE)
		seckill_args_check_outside_transaction(fcinfo, "mode \"queue\"");
	seckill_args_read_credentials(fcinfo, 9, p);
	p->pieces = palloc(seat_max_pieces(&trip, p->quantity) *
					   sizeof(SeatPiece));
}


/*
 * seckill_book()
 */

/*
 * Read the seats of an order that another process, or an earlier call, has
 * made.  The queue worker names the seat of a single passenger.
 */
static void
read_pieces(Purchase *p)
{
	MemoryContext context = CurrentMemoryContext;
	TableCaller caller;
	SeatPiece  *pieces;

	if (p->unit != 0)
	{
		p->pieces[0].seat = p->unit;
		p->pieces[0].legs = seat_trip_legs(p->trip.from, p->trip.to);
		p->npieces = 1;
		return;
	}
	seckill_table_begin(&caller);
	if (seckill_booking_read(p->item_id, p->order_id, &pieces, &p->npieces))
	{
		p->pieces = MemoryContextAlloc(context,
									   Max(p->npieces, 1) * sizeof(SeatPiece));
		memcpy(p->pieces, pieces, p->npieces * sizeof(SeatPiece));
	}
	seckill_table_end(&caller);
}

/* Make the result row (outcome, order_id, seats, seat_legs) of a sold one. */
static Datum
result_row(FunctionCallInfo fcinfo, const Purchase *p)
{
	Datum	   *seats = palloc(p->npieces * sizeof(Datum));
	Datum	   *legs = palloc(p->npieces * sizeof(Datum));
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};

	for (int i = 0; i < p->npieces; i++)
	{
		seats[i] = Int32GetDatum(p->pieces[i].seat);
		legs[i] = Int64GetDatum((int64) p->pieces[i].legs);
	}
	values[0] = ObjectIdGetDatum(seckill_catalog()->outcome[p->outcome]);
	values[1] = Int64GetDatum(p->order_id);
	values[2] = seckill_plan_int4_array(seats, p->npieces);
	values[3] = seckill_plan_int8_array(legs, p->npieces);
	return seckill_result_row(fcinfo, values, nulls);
}

/*
 * seckill_book(item_id bigint, user_id bigint, from_stop bigint,
 *				to_stop bigint, quantity bigint, mode seckill_mode,
 *				together text, max_changes bigint, seats bigint[],
 *				request_id uuid, token text)
 *		returns (outcome seckill_outcome, order_id bigint, seats integer[],
 *				 seat_legs bigint[])
 *
 * Books quantity seats from one stop to another.  seats names them; if it is
 * NULL, those that fit best are chosen.  together says whether they must be
 * beside each other ("need"), should be ("prefer": in one block, else in one
 * car, else anywhere), or need not be ("any").  If fewer seats are free all
 * the way, passengers may change seats, at most max_changes times each, unless
 * the seats must be together.
 *
 * The answers are those of seckill_buy(), and "seat_taken" if a seat that was
 * named is not free.  seats and seat_legs are what the order has: for each
 * seat, ascending, the legs as bits.
 *
 * The call can wait for transactions that have the seats' rows locked, for at
 * most lock_timeout, and else as seckill_buy() does.
 *
 * Errors: those of seckill_buy(), stops that are not those of a trip, seats
 * that the item does not have, an item that has units.
 */
Datum
seckill_book(PG_FUNCTION_ARGS)
{
	Purchase	p;
	StatCall	call;

	seckill_stat_begin(&call);
	read_arguments(fcinfo, &p);
	seckill_buy_serve(&p, &call);
	SECKILL_FAULT("booking served");
	if (p.outcome != SECKILL_SOLD)
		return seckill_result_refusal(fcinfo, p.outcome);
	if (p.npieces == 0)
		read_pieces(&p);
	return result_row(fcinfo, &p);
}


/*
 * seckill_block_seats()
 */

/* Seats that one call can block. */
#define MAX_BLOCKED		10000

/*
 * seckill_block_seats(item_id bigint, seats bigint[], from_stop bigint,
 *					   to_stop bigint)
 *		returns (outcome seckill_outcome, order_id bigint)
 *
 * Takes seats off sale, by a confirmed order of user 0, whatever the rules of
 * the sale are.  to_stop NULL stands for the last stop.  seckill_cancel() with
 * refund puts them back.
 *
 * The outcome is "sold", or "seat_taken" if one of them is not free.  Waits
 * for transactions that have the rows of the seats locked.
 *
 * Errors: a NULL or invalid argument, an unknown item, one that has units,
 * seats that the item does not have.
 */
Datum
seckill_block_seats(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	ItemRow		row;
	Purchase	p = {.mode = SECKILL_MODE_RETRY,.selling_mode = SECKILL_MODE_RETRY};

	seckill_check_writable("seckill_block_seats()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "seats");
	p.item_id = PG_GETARG_INT64(0);
	p.named_seats = read_seats(fcinfo, 1, MAX_BLOCKED, &p.quantity);
	seckill_place_read(p.item_id);
	if (!seckill_item_read_latest(p.item_id, &row))
		seckill_unknown_item(p.item_id);
	if (PG_ARGISNULL(3))
	{
		fcinfo->args[3].value = Int64GetDatum(Max(row.rules.legs, 1));
		fcinfo->args[3].isnull = false;
	}
	read_stops(fcinfo, 2, &p.trip);
	p.rules.legs = row.rules.legs;
	seckill_rules_check_kind(&p);
	p.pieces = palloc(p.quantity * sizeof(SeatPiece));
	seckill_table_begin(&caller);
	seckill_change_begin_work(p.item_id);
	seckill_book_run(&p);
	seckill_change_end_work(1);
	seckill_table_end(&caller);
	return seckill_result_outcome(fcinfo, p.outcome,
								  p.outcome == SECKILL_SOLD, p.order_id);
}
