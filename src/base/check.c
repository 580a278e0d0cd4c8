/*
 * check.c
 *		TODO
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/check.h"

/*
 * Arguments
 */

void
seckill_check_argument(bool isnull, const char *name)
{
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

/*
 * A number of units as a caller gives it.  Drivers send an integer as bigint:
 * the functions take one, and what the tables cannot have is refused here.
 */
int32
seckill_check_units(int64 units, const char *name)
{
	if (units < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be at least 1", name),
				 errdetail("It is " INT64_FORMAT ".", units)));
	if (units > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s must be at most %d", name, PG_INT32_MAX),
				 errdetail("It is " INT64_FORMAT ".", units)));
	return (int32) units;
}

/*
 * An interval in microseconds, from 0 to a year; a day has 24 hours and a
 * month 30 days.
 */
int64
seckill_microseconds(const Interval *interval)
{
	double		days = interval->day +
		(double) interval->month * DAYS_PER_MONTH;
	double		total = interval->time + days * USECS_PER_DAY;

	return (int64) Max(Min(total, DAYS_PER_YEAR * (double) USECS_PER_DAY), 0.0);
}

void
seckill_unknown_item(int64 item_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("item " INT64_FORMAT " does not exist", item_id),
			 errhint("Items are the rows of seckill.items.")));
}

/* The request of a single purchase was used for another one. */
void
seckill_request_reused(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("request_id was used for another purchase"),
			 errdetail("That purchase is by another user or of another quantity."),
			 errhint("Make a new UUID for each purchase that a user starts, and keep it for the retries.")));
}

/*
 * Raise unless function may change tables and shared memory here.  Callers may
 * have labelled a function around it PARALLEL SAFE: a parallel worker has the
 * transaction id of its leader and ends without the events of a transaction.
 */
void
seckill_check_writable(const char *function)
{
	PreventCommandDuringRecovery(function);
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
}


/*
 * seckill.items.  Functions that read return false if there is no such item.
 */

void
seckill_serialization_failure(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update"),
			 errhint("The transaction might succeed if retried.")));
}

void
seckill_unknown_order(int64 item_id, int64 order_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("order " INT64_FORMAT " of item " INT64_FORMAT " does not exist",
					order_id, item_id)));
}

/* What the error says: code in C, a trigger's for one, can raise a bare code. */
const char *
seckill_process_message(const ErrorData *error)
{
	return error->message != NULL ? error->message : _("missing error text");
}
