/*
 * buy.c
 *		seckill_buy: arguments, the rules of the sale, dispatch, result.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "seckill.h"

PG_FUNCTION_INFO_V1(seckill_buy);

/* How long the cache answers before somebody looks at the row again. */
#define CHECK_INTERVAL	USECS_PER_SEC


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

void
seckill_check_units(int32 units, const char *name)
{
	if (units < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be at least 1", name),
				 errdetail("It is %d.", units)));
}

void
seckill_unknown_item(int64 item_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("item " INT64_FORMAT " does not exist", item_id),
			 errhint("Items are the rows of seckill.items.")));
}

/* The mode that a call asks for, if it may and can be used here. */
static SeckillMode
check_mode(Oid value)
{
	SeckillMode mode = seckill_catalog_mode(value);

	if (mode == SECKILL_MODE_AUTO)
		mode = (SeckillMode) seckill_default_mode;
	if (mode == SECKILL_MODE_NONE && !seckill_allow_unsafe)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("mode \"none\" is not allowed"),
				 errdetail("It has no concurrency control and oversells."),
				 errhint("A superuser can set seckill.allow_unsafe to show what goes wrong.")));
	if (mode == SECKILL_MODE_CACHE && !seckill_stock_ready())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("mode \"cache\" needs shared memory"),
				 errhint("Add seckill to shared_preload_libraries and restart the server, or use another mode.")));
	return mode;
}

static void
read_arguments(FunctionCallInfo fcinfo, Purchase *p)
{
	PreventCommandDuringRecovery("seckill_buy()");
	PreventCommandIfReadOnly("seckill_buy()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "user_id");
	seckill_check_argument(PG_ARGISNULL(2), "mode");
	seckill_check_argument(PG_ARGISNULL(3), "quantity");
	p->item_id = PG_GETARG_INT64(0);
	p->user_id = PG_GETARG_INT64(1);
	p->mode = check_mode(PG_GETARG_OID(2));
	p->quantity = PG_GETARG_INT32(3);
	seckill_check_units(p->quantity, "quantity");
	p->entry = NULL;
	p->order_id = 0;
}


/*
 * Rules
 */

/* SECKILL_SOLD stands for "go on". */
static SeckillOutcome
check_window(TimestampTz starts_at, TimestampTz ends_at, TimestampTz now)
{
	if (now < starts_at)
		return SECKILL_NOT_STARTED;
	if (now >= ends_at)
		return SECKILL_ENDED;
	return SECKILL_SOLD;
}

/*
 * Read the rules from the row, and keep them in the entry.
 */
static SeckillOutcome
check_row(Purchase *p, TimestampTz now)
{
	uint64		generation = p->entry != NULL ?
	seckill_stock_generation(p->entry) : 0;
	ItemRow		row;

	if (!seckill_ledger_peek(p->item_id, &row))
		seckill_unknown_item(p->item_id);

	if (p->entry == NULL)
		p->entry = seckill_stock_enter(p->item_id);
	else
		seckill_stock_learn(p->entry, generation, &row, now);
	return check_window(row.starts_at, row.ends_at, now);
}

/* Is it time to look at the row again?  Clocks can go back, too. */
static bool
is_stale(const StockGlance *glance, TimestampTz now)
{
	return now - glance->checked_at > CHECK_INTERVAL ||
		now < glance->checked_at - CHECK_INTERVAL;
}

/*
 * What is known of the item without asking its units: from the entry, read
 * anew at least once in CHECK_INTERVAL by one session, or from the row.
 */
static SeckillOutcome
check_rules(Purchase *p)
{
	TimestampTz now = GetCurrentTimestamp();
	StockGlance glance;
	SeckillOutcome outcome;

	p->entry = seckill_stock_find(p->item_id);
	if (p->entry == NULL || seckill_xact_changed_row(p->item_id))
		return check_row(p, now);

	seckill_stock_glance(p->entry, &glance);
	if (!glance.known ||
		(is_stale(&glance, now) &&
		 seckill_stock_claim_check(p->entry, glance.checked_at, now)))
	{
		outcome = check_row(p, now);
		seckill_stock_glance(p->entry, &glance);
	}
	else
		outcome = check_window(glance.starts_at, glance.ends_at, now);
	if (outcome == SECKILL_SOLD && glance.sold_out)
		return SECKILL_SOLD_OUT;
	return outcome;
}


static SeckillOutcome
run_mode(Purchase *p)
{
	LedgerCaller caller;
	SeckillOutcome outcome;

	seckill_ledger_begin(&caller);
	outcome = seckill_mode_run(p);
	seckill_ledger_end(&caller);
	return outcome;
}

/*
 * seckill_buy(item_id, user_id, mode, quantity) returns (outcome, order_id)
 *
 * Sold means: an order row in the caller's transaction.  Every other outcome
 * changed nothing.  Waits are lock waits, bounded by lock_timeout.
 */
Datum
seckill_buy(PG_FUNCTION_ARGS)
{
	Purchase	p;
	SeckillOutcome outcome;

	read_arguments(fcinfo, &p);
	outcome = check_rules(&p);
	if (outcome == SECKILL_SOLD)
		outcome = run_mode(&p);
	seckill_stock_unpin(p.entry);
	return seckill_catalog_result(fcinfo, outcome, p.order_id);
}
