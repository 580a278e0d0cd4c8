/*
 * channel_sql.c
 *		For the extension seckill_cluster: the counters of the exchanges with
 *		other nodes.
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/catalog.h"
#include "seckill.h"
#include "shmem/channel_stat.h"

PG_FUNCTION_INFO_V1(seckill_channel_count);
PG_FUNCTION_INFO_V1(seckill_stat_channels);

/*
 * seckill_channel_count(item_id bigint, peer integer, is_round boolean,
 *		granted boolean, succeeded boolean, error text) returns void
 *
 * Counts a call between this node and another one, which home has made or not.
 * It stays counted if the transaction rolls back.  error may be NULL.
 */
Datum
seckill_channel_count(PG_FUNCTION_ARGS)
{
	ChannelCall call = {
		.is_round = PG_GETARG_BOOL(2),
		.granted = PG_GETARG_BOOL(3),
		.succeeded = PG_GETARG_BOOL(4),
		.error = PG_ARGISNULL(5) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(5))
	};

	if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1))
		seckill_channel_stat_add(seckill_catalog()->items, PG_GETARG_INT64(0),
								 PG_GETARG_INT32(1), &call);
	PG_RETURN_VOID();
}

/*
 * seckill_stat_channels() returns setof (item_id bigint, peer integer,
 *		rounds bigint, asks bigint, grants bigint, failures bigint,
 *		last_success timestamptz, last_failure timestamptz, last_error text)
 *
 * One row per item and other node with which units were exchanged since the
 * server has started.
 */
Datum
seckill_stat_channels(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ChannelCounts *list;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	n = seckill_channel_stat_list(seckill_catalog()->items, &list);
	for (int i = 0; i < n; i++)
	{
		const ChannelCounts *c = &list[i];
		Datum		values[9];
		bool		nulls[9] = {false};

		values[0] = Int64GetDatum(c->item_id);
		values[1] = Int32GetDatum(c->peer);
		values[2] = Int64GetDatum(c->rounds);
		values[3] = Int64GetDatum(c->asks);
		values[4] = Int64GetDatum(c->grants);
		values[5] = Int64GetDatum(c->failures);
		values[6] = TimestampTzGetDatum(c->last_success);
		values[7] = TimestampTzGetDatum(c->last_failure);
		values[8] = CStringGetTextDatum(c->last_error);
		nulls[6] = c->last_success == 0;
		nulls[7] = nulls[8] = c->last_failure == 0;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
