/*
 * lease_sql.c
 *		seckill_prewarm() and seckill_recall(): moving units between the row and
 *		the stock cache by hand.
 */
#include "postgres.h"

#include "base/check.h"
#include "sale/lease.h"
#include "shmem/cache.h"
#include "table/plan.h"

PG_FUNCTION_INFO_V1(seckill_prewarm);
PG_FUNCTION_INFO_V1(seckill_recall);

/*
 * seckill_prewarm(item_id bigint, units bigint) returns integer
 *
 * Leases units (NULL: all) of the item to the cache.  Returns how many, which
 * is less than units if the row has fewer.  The cache sells them once the
 * caller's transaction commits.  Waits for the row lock of the item.
 *
 * Errors: item_id is NULL, units is out of range, the item is unknown, no
 * shared_preload_libraries, a transaction that cannot write.
 */
Datum
seckill_prewarm(PG_FUNCTION_ARGS)
{
	int32		units;
	TableCaller caller;
	int32		leased;

	seckill_check_writable("seckill_prewarm()");
	seckill_cache_require();
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	units = PG_ARGISNULL(1) ? PG_INT32_MAX :
		seckill_check_units(PG_GETARG_INT64(1), "units");
	seckill_table_begin(&caller);
	leased = seckill_lease_prewarm(PG_GETARG_INT64(0), units);
	seckill_table_end(&caller);
	PG_RETURN_INT32(leased);
}

/*
 * seckill_recall(item_id bigint) returns integer
 *
 * Returns the units that the cache still has to the row of the item, and
 * closes the lease if no transaction holds units of it.  Returns their number.
 * The row modes and a new lease get them once the caller's transaction
 * commits.  Waits for the row lock of the item.
 *
 * Errors: item_id is NULL, the item is unknown, no shared_preload_libraries, a
 * transaction that cannot write.
 */
Datum
seckill_recall(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	int32		units;

	seckill_check_writable("seckill_recall()");
	seckill_cache_require();
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_table_begin(&caller);
	units = seckill_lease_recall(PG_GETARG_INT64(0));
	seckill_table_end(&caller);
	PG_RETURN_INT32(units);
}
