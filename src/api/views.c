/*
 * views.c
 *		The functions behind the views: entries of the cache and statistics.
 *
 * They read shared memory only, and return no rows without
 * shared_preload_libraries.  Statistics are read counter by counter while
 * other sessions increase them, so a row is not a snapshot.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/catalog.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_scan.h"
#include "shmem/ring.h"
#include "shmem/stat.h"

PG_FUNCTION_INFO_V1(seckill_cache);
PG_FUNCTION_INFO_V1(seckill_stat_items);
PG_FUNCTION_INFO_V1(seckill_stat_worker);
PG_FUNCTION_INFO_V1(seckill_stat_reset);


/*
 * seckill_cache() returns setof (item_id bigint, lease_id bigint,
 *		cached integer, held integer, sold_out boolean, hot boolean)
 *
 * One row per entry of this database.  cached and held are units.
 */
Datum
seckill_cache(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CacheInfo  *lines;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	n = seckill_cache_list(seckill_catalog()->items, &lines);
	for (int i = 0; i < n; i++)
	{
		Datum		values[6];
		bool		nulls[6] = {false};

		values[0] = Int64GetDatum(lines[i].item_id);
		values[1] = Int64GetDatum(lines[i].lease_id);
		values[2] = Int32GetDatum(lines[i].avail);
		values[3] = Int32GetDatum(lines[i].held);
		values[4] = BoolGetDatum(lines[i].sold_out);
		values[5] = BoolGetDatum(lines[i].hot);
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}

/* The statistics show times in milliseconds. */
static double
milliseconds(int64 nanoseconds)
{
	return nanoseconds / 1e6;
}

/* Has a call or a decision been counted in this mode? */
static bool
is_used(const int64 *sums)
{
	for (int i = CALL_CALLS; i < CALL_UNITS; i++)
		if (sums[i] != 0)
			return true;
	return false;
}

/* Raise an error if the SQL declaration does not match this library. */
static void
check_columns(ReturnSetInfo *result, int columns)
{
	if (result->setDesc->natts != columns)
		elog(ERROR, "function has %d columns instead of %d",
			 result->setDesc->natts, columns);
}

/*
 * Add a row for each mode with counts.  index is that of the cache entry;
 * item_id is NULL, and index -1, for items without an entry.
 */
static void
put_calls(ReturnSetInfo *result, int index, const int64 *item_id)
{
	TimestampTz since;
	StatSums	sums;

	if (!seckill_stat_read_calls(index, sums, &since))
		return;
	for (int mode = 0; mode < SECKILL_MODES; mode++)
	{
		Datum		values[CALL_STATS + 3];
		bool		nulls[CALL_STATS + 3] = {false};

		if (!is_used(sums[mode]))
			continue;
		nulls[0] = item_id == NULL;
		values[0] = item_id != NULL ? Int64GetDatum(*item_id) : (Datum) 0;
		values[1] = ObjectIdGetDatum(seckill_catalog()->mode[mode]);
		for (int i = 0; i < CALL_STATS; i++)
			values[2 + i] = i < CALL_WAIT_TIME ?
				Int64GetDatum(sums[mode][i]) :
				Float8GetDatum(milliseconds(sums[mode][i]));
		values[CALL_STATS + 2] = TimestampTzGetDatum(since);
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
}

/*
 * seckill_stat_items() returns setof (item_id bigint, mode seckill_mode,
 *		the counters in the order of CallStat, stats_reset timestamptz)
 *
 * One row per item and mode with counts.  Times are milliseconds.
 */
Datum
seckill_stat_items(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			items_table = seckill_catalog()->items;
	CacheEntry *entry;
	int64		item_id;
	int			next = 0;

	InitMaterializedSRF(fcinfo, 0);
	check_columns(result, CALL_STATS + 3);
	while ((entry = seckill_cache_next(items_table, &next, &item_id)) != NULL)
	{
		put_calls(result, seckill_cache_index(entry), &item_id);
		seckill_cache_unpin(entry);
	}
	put_calls(result, -1, NULL);
	return (Datum) 0;
}

/*
 * seckill_stat_worker() returns setof (pid integer, backlog bigint,
 *		the counters in the order of SeckillStat, stats_reset timestamptz)
 *
 * One row for the background processes of this database; pid is that of the
 * queue worker, NULL if none is running.
 */
Datum
seckill_stat_worker(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[SECKILL_STATS + 3];
	bool		nulls[SECKILL_STATS + 3] = {false};
	int64		counts[SECKILL_STATS];
	TimestampTz since;
	int64		backlog;
	int			pid;

	InitMaterializedSRF(fcinfo, 0);
	check_columns(result, SECKILL_STATS + 3);
	if (!seckill_stat_read_counts(counts, &since))
		return (Datum) 0;
	backlog = seckill_ring_backlog(&pid);
	values[0] = Int32GetDatum(pid);
	nulls[0] = pid == 0;
	values[1] = Int64GetDatum(backlog);
	for (int i = 0; i < SECKILL_STATS; i++)
		values[2 + i] = Int64GetDatum(counts[i]);
	values[SECKILL_STATS + 2] = TimestampTzGetDatum(since);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	return (Datum) 0;
}

/*
 * seckill_stat_reset() returns void
 *
 * Sets all statistics of this database to zero.
 */
Datum
seckill_stat_reset(PG_FUNCTION_ARGS)
{
	Oid			items_table = seckill_catalog()->items;
	CacheEntry *entry;
	int64		item_id;
	int			next = 0;

	while ((entry = seckill_cache_next(items_table, &next, &item_id)) != NULL)
	{
		seckill_stat_reset_calls(seckill_cache_index(entry));
		seckill_cache_unpin(entry);
	}
	seckill_stat_reset_calls(-1);
	seckill_stat_reset_counts();
	PG_RETURN_VOID();
}
