/*
 * shares.c
 *		Exchanges of units between nodes, of the extension seckill_cluster.
 *
 * As with moves (open_moves.c), the steps are functions of that extension.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "table/plan.h"
#include "table/shares.h"

/*
 * Exchange units of an item with other nodes, of which buyers want some, one
 * of them as few as smallest.  May connect to other nodes.  Returns how many
 * units there are on all nodes, or -1 if that is not known.
 */
int32
seckill_shares_exchange(int64 item_id, int64 wanted, int32 smallest)
{
	Oid			types[] = {INT8OID, INT4OID, INT4OID};
	Datum		args[] = {Int64GetDatum(item_id),
		Int32GetDatum((int32) Min(wanted, PG_INT32_MAX)),
	Int32GetDatum(smallest)};
	int32		reach;

	if (SPI_execute_with_args("SELECT seckill.share_work($1, $2, $3)", 3, types,
							  args, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "units could not be exchanged");
	reach = DatumGetInt32(seckill_plan_result_column(0, 1, Int32GetDatum(-1)));
	SPI_freetuptable(SPI_tuptable);
	return reach;
}
