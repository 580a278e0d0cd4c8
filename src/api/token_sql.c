/*
 * token_sql.c
 *		seckill_token(): tokens for items with require_token.  sale/token.c tells
 *		how a token is made and checked.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "base/check.h"
#include "sale/token.h"

PG_FUNCTION_INFO_V1(seckill_token);

/*
 * seckill_token(item_id bigint, user_id bigint, valid_for interval)
 *		returns text
 *
 * Returns a token with which the user can buy the item from now on until
 * valid_for has passed.  It reads no table, so it does not check that the item
 * exists.
 *
 * Errors: a NULL argument, valid_for is not positive or not finite.
 */
Datum
seckill_token(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz expiry;

	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "user_id");
	seckill_check_argument(PG_ARGISNULL(2), "valid_for");
	expiry = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													 TimestampTzGetDatum(now),
													 PG_GETARG_DATUM(2)));
	if (expiry <= now || TIMESTAMP_NOT_FINITE(expiry))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("valid_for must be positive and finite")));
	PG_RETURN_TEXT_P(seckill_token_make(PG_GETARG_INT64(0),
										PG_GETARG_INT64(1), expiry));
}
