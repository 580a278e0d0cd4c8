/*
 * seat_sql.c
 *		seckill_free_seats() and seckill_seat_map(): what is free.
 *
 * They write nothing, wait for nobody, work on a standby, and see the latest
 * committed rows and those of the caller's own transaction, or the seat map in
 * shared memory.  What they show may be sold the moment after.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/seat_fit.h"
#include "sale/place.h"
#include "seckill.h"
#include "shmem/seat_map.h"
#include "shmem/stat.h"
#include "table/item_row.h"
#include "table/plan.h"
#include "table/seat_scan.h"
#include "table/seats.h"

PG_FUNCTION_INFO_V1(seckill_free_seats);
PG_FUNCTION_INFO_V1(seckill_seat_map);

/*
 * Read the number of legs of the item that argument 0 names; raises an error
 * if it has none.
 */
static int
read_legs(FunctionCallInfo fcinfo, const char *function, int64 *item_id)
{
	ItemRow		row;

	PreventCommandIfParallelMode(function);
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	*item_id = PG_GETARG_INT64(0);
	seckill_place_read(*item_id);
	if (!seckill_item_read_latest(*item_id, &row))
		seckill_unknown_item(*item_id);
	if (row.rules.legs == 0)
		seckill_has_units(*item_id);
	return row.rules.legs;
}


/*
 * seckill_free_seats()
 */

/* Count the free seats of each pair of stops in the table; loads the map. */
static void
count_in_table(int64 item_id, int legs, int32 *counts)
{
	TableCaller caller;
	SeatMap    *map;

	seckill_table_begin(&caller);
	map = seckill_seats_read(item_id, legs);
	if (seckill_seat_map_install(seckill_catalog()->items, item_id, map))
		seckill_stat_count(SECKILL_STAT_MAP_LOADS, 1);
	seat_count_pairs(map, SEATS_FREE, counts);
	seckill_table_end(&caller);
}

/*
 * seckill_free_seats(item_id bigint)
 *		returns setof (from_stop integer, to_stop integer, seats integer)
 *
 * A row for each pair of stops: the seats that are free all the way, as the
 * map says, or the table if there is no map.
 *
 * Errors: item_id is NULL, the item is unknown or has units.
 */
Datum
seckill_free_seats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		item_id;
	int			legs;
	int32	   *counts;

	InitMaterializedSRF(fcinfo, 0);
	legs = read_legs(fcinfo, "seckill_free_seats()", &item_id);
	counts = palloc0(SEAT_MAX_LEGS * SEAT_MAX_LEGS * sizeof(int32));
	if (!seckill_seat_map_count(seckill_catalog()->items, item_id, legs,
								counts))
		count_in_table(item_id, legs, counts);
	for (int from = 0; from < legs; from++)
		for (int to = from + 1; to <= legs; to++)
		{
			Datum		values[3] = {Int32GetDatum(from), Int32GetDatum(to),
			Int32GetDatum(counts[from * SEAT_MAX_LEGS + to - 1])};
			bool		nulls[3] = {false};

			tuplestore_putvalues(result->setResult, result->setDesc, values,
								 nulls);
		}
	return (Datum) 0;
}


/*
 * seckill_seat_map()
 */

/* Read an argument as a stop; if it is NULL, it is if_null. */
static int
read_stop(FunctionCallInfo fcinfo, int i, const char *name, int legs,
		  int if_null)
{
	int64		stop = PG_ARGISNULL(i) ? if_null : PG_GETARG_INT64(i);

	if (stop < 0 || stop > legs)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between 0 and %d", name, legs),
				 errdetail("It is " INT64_FORMAT ".", stop)));
	return (int) stop;
}

/* The state of a seat for the legs of a trip. */
static const char *
state_of(uint64 taken, uint64 held, uint64 legs)
{
	if ((taken & legs) != 0)
		return "taken";
	return (held & legs) != 0 ? "held" : "free";
}

/*
 * Add a row for each seat: what the table says, and what running transactions
 * hold according to the map.
 */
static void
put_seats(ReturnSetInfo *result, int64 item_id, uint64 legs,
		  const SeatMap *map)
{
	uint64		n = seckill_seats_describe(item_id);

	for (uint64 i = 0; i < n; i++)
	{
		Datum		values[5];
		bool		nulls[5];
		int			place;
		uint64		taken;
		uint64		held = 0;

		seckill_seats_described(i, values, nulls);
		taken = (uint64) DatumGetInt64(values[4]);
		place = seat_map_find(map, DatumGetInt32(values[0]));
		if (place >= 0)
			held = seat_map_get(map, map->held, place);
		values[4] = CStringGetTextDatum(state_of(taken, held, legs));
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
}

/*
 * seckill_seat_map(item_id bigint, from_stop bigint, to_stop bigint)
 *		returns setof (seat integer, block integer, car integer, label text,
 *					   state text)
 *
 * A row for each seat: "taken" if any leg between the stops is sold, "held" if
 * a running transaction is buying one, else "free".  to_stop NULL stands for
 * the last stop.
 *
 * Errors: item_id is NULL, the item is unknown or has units, stops that are
 * not those of a trip.
 */
Datum
seckill_seat_map(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TableCaller caller;
	SeatMap    *map;
	int64		item_id;
	int			legs;
	int			from;
	int			to;

	InitMaterializedSRF(fcinfo, 0);
	legs = read_legs(fcinfo, "seckill_seat_map()", &item_id);
	from = read_stop(fcinfo, 1, "from_stop", legs, 0);
	to = read_stop(fcinfo, 2, "to_stop", legs, legs);
	if (from >= to)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("from_stop must be less than to_stop"),
				 errdetail("They are %d and %d.", from, to)));
	seckill_table_begin(&caller);
	map = seckill_seats_read(item_id, legs);
	(void) seckill_seat_map_look(seckill_catalog()->items, item_id, map,
								 false);
	put_seats(result, item_id, seat_trip_legs(from, to), map);
	seckill_table_end(&caller);
	return (Datum) 0;
}
