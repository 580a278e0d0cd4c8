/*
 * stats.c
 *		Functions under the views over shared memory.
 */
#include "postgres.h"

#include "funcapi.h"

#include "seckill.h"

PG_FUNCTION_INFO_V1(seckill_cache);

/*
 * seckill_cache() returns setof (item_id, lease_id, cached, held, sold_out, hot)
 */
Datum
seckill_cache(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	StockLine  *lines;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	n = seckill_stock_list(seckill_catalog()->items, &lines);
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
