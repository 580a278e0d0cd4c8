/*
 * lease_sql.c
 *		TODO
 */
#include "postgres.h"

#include "base/check.h"
#include "sale/lease.h"
#include "shmem/cache.h"
#include "table/plan.h"

PG_FUNCTION_INFO_V1(seckill_prewarm);
PG_FUNCTION_INFO_V1(seckill_recall);


/*
 * By hand
 */

/*
 * seckill_prewarm(item_id, units) returns integer
 *
 * Lease units, or all, ahead of the sale.  Returns how many: fewer if the row
 * has fewer.  Buyers get them once the caller's transaction commits.
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
 * seckill_recall(item_id) returns integer
 *
 * Returns how many units went from the lease to the row.  Buyers of the row
 * modes and other leases get them once the caller's transaction commits.
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
