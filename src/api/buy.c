/*
 * buy.c
 *		The calls that buy: arguments, the rules of the sale, dispatch, result.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "seckill.h"

PG_FUNCTION_INFO_V1(seckill_buy);
PG_FUNCTION_INFO_V1(seckill_submit);
PG_FUNCTION_INFO_V1(seckill_buy_many);

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
 * Is the call a part of a SELECT that a client has sent by itself?  It is not if
 * somebody who uses SPI is around it, or a function in SQL: the call is then not
 * in the executor's context of the portal's own query.  Nor is it if the portal
 * does something with the rows that can fail, or runs at the commit.
 */
static bool
is_top_level(FunctionCallInfo fcinfo)
{
	return !seckill_ledger_is_nested() &&
		fcinfo->flinfo != NULL && ActivePortal != NULL &&
		ActivePortal->strategy == PORTAL_ONE_SELECT &&
		(ActivePortal->cursorOptions & CURSOR_OPT_HOLD) == 0 &&
		MemoryContextGetParent(fcinfo->flinfo->fn_mcxt) ==
		ActivePortal->portalContext;
}

/*
 * Many purchases share the worker's transaction: what it decides stands
 * whatever becomes of the caller's.  So that must have nothing else to do, and
 * in a pipeline it is committed at once.  And a caller with locks would wait for
 * a worker who may be waiting for these, unseen by the deadlock detector.
 */
static void
check_outside_transaction(FunctionCallInfo fcinfo, const char *what)
{
	if (!is_top_level(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s can be used only by a SELECT of its own", what),
				 errdetail("Its purchases are committed by another process, whatever becomes of a function or command around the call."),
				 errhint("Buy with mode \"cache\" there.")));
	PreventInTransactionBlock(true, what);
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot be used by a statement that has written", what),
				 errhint("Call it as a statement of its own.")));
}

/*
 * The same for the locks of the statement that calls: if somebody waited to
 * truncate the tables, the worker would wait for him, and he for us.
 */
static void
check_without_locks(const Purchase *p)
{
	if (seckill_ledger_has_lock())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("mode \"queue\" cannot be used by a statement that reads seckill.items or seckill.orders"),
				 errhint("Read the tables in a statement before, or use seckill_submit().")));
	if (seckill_admit_has_lock(p))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("mode \"queue\" cannot be used by a statement that has tried to buy the same in another mode"),
				 errhint("Call it as a statement of its own.")));
}

static void
check_preloaded(const char *name)
{
	if (!seckill_stock_ready())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("mode \"%s\" needs shared memory", name),
				 errhint("Add seckill to shared_preload_libraries and restart the server, or use another mode.")));
}

/* Raise if the queue cannot be used here. */
void
seckill_check_queue(void)
{
	check_preloaded("queue");
}

/* The mode that a call asks for, if it may and can be used here. */
static SeckillMode
check_mode(SeckillMode mode)
{
	if (mode == SECKILL_MODE_AUTO)
		mode = (SeckillMode) seckill_default_mode;
	if (mode == SECKILL_MODE_NONE && !seckill_allow_unsafe)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("mode \"none\" is not allowed"),
				 errdetail("It has no concurrency control and oversells."),
				 errhint("A superuser can set seckill.allow_unsafe to show what goes wrong.")));
	if (mode == SECKILL_MODE_CACHE)
		check_preloaded("cache");
	if (mode == SECKILL_MODE_QUEUE)
		seckill_check_queue();
	return mode;
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

/* A purchase as a caller asks for it. */
void
seckill_init_purchase(Purchase *p, int64 item_id, int64 user_id,
					  int64 quantity, SeckillMode mode)
{
	memset(p, 0, sizeof(*p));
	p->item_id = item_id;
	p->user_id = user_id;
	p->quantity = seckill_check_units(quantity, "quantity");
	p->mode = check_mode(mode);
	p->outcome = SECKILL_QUEUED;
}

/* The arguments request_id and token, in this order from i on, or NULL. */
static void
read_credentials(FunctionCallInfo fcinfo, int i, Purchase *p)
{
	p->has_request = !PG_ARGISNULL(i);
	if (p->has_request)
		p->request = *PG_GETARG_UUID_P(i);
	if (!PG_ARGISNULL(i + 1))
		p->token = PG_GETARG_TEXT_PP(i + 1);
}

static void
read_arguments(FunctionCallInfo fcinfo, Purchase *p)
{
	seckill_check_writable("seckill_buy()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "user_id");
	seckill_check_argument(PG_ARGISNULL(2), "mode");
	seckill_check_argument(PG_ARGISNULL(3), "quantity");
	seckill_init_purchase(p, PG_GETARG_INT64(0), PG_GETARG_INT64(1),
						  PG_GETARG_INT64(3),
						  seckill_catalog_mode(PG_GETARG_OID(2)));
	if (p->mode == SECKILL_MODE_QUEUE)
		check_outside_transaction(fcinfo, "mode \"queue\"");
	read_credentials(fcinfo, 4, p);
}


/*
 * Rules
 */

/* Is the sale open?  SECKILL_SOLD stands for "go on". */
SeckillOutcome
seckill_check_window(const SaleRules *rules, TimestampTz now)
{
	if (now < rules->starts_at)
		return SECKILL_NOT_STARTED;
	if (now >= rules->ends_at)
		return SECKILL_ENDED;
	return SECKILL_SOLD;
}

/*
 * Read the rules from the row, and keep them in the entry.
 */
static SeckillOutcome
check_row(Purchase *p)
{
	uint64		generation = p->entry != NULL ?
	seckill_stock_generation(p->entry) : 0;
	ItemRow		row;
	bool		found = p->mode == SECKILL_MODE_QUEUE ?
	seckill_ledger_glimpse(p->item_id, &row) :
	seckill_ledger_peek(p->item_id, &row);

	if (!found)
		seckill_unknown_item(p->item_id);

	if (p->entry == NULL)
		p->entry = seckill_entry_enter(p->item_id);
	else
		seckill_stock_learn(p->entry, generation, &row, p->now);
	p->rules = row.rules;
	return seckill_check_window(&row.rules, p->now);
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
 * Leaves the entry pinned in p.  SECKILL_SOLD stands for "go on".
 */
SeckillOutcome
seckill_check_rules(Purchase *p)
{
	TimestampTz now = GetCurrentTimestamp();
	StockGlance glance;
	SeckillOutcome outcome;

	p->now = now;
	p->entry = seckill_entry_find(p->item_id);
	if (p->entry == NULL || seckill_xact_changed_row(p->item_id))
		return check_row(p);

	seckill_stock_glance(p->entry, &glance);
	if (!glance.known ||
		(is_stale(&glance, now) &&
		 seckill_stock_claim_check(p->entry, glance.checked_at, now)))
	{
		outcome = check_row(p);
		seckill_stock_glance(p->entry, &glance);
	}
	else
	{
		p->rules = glance.rules;
		outcome = seckill_check_window(&glance.rules, now);
	}
	SECKILL_FAULT("rules known");
	if (outcome == SECKILL_SOLD && glance.sold_out)
		return SECKILL_SOLD_OUT;
	return outcome;
}

/* The same for a list of purchases of one item, with one look for all. */
static SeckillOutcome
check_rules_of_all(Purchase **list, int n)
{
	Purchase   *first = list[0];
	SeckillOutcome outcome = seckill_check_rules(first);

	for (int i = 1; i < n; i++)
	{
		Purchase   *p = list[i];

		p->entry = first->entry;
		p->now = first->now;
		p->rules = first->rules;
	}
	return outcome;
}


/*
 * Tokens and rates
 */

/* Does the purchase have the token that it needs, if it needs one? */
static bool
has_token(Purchase *p)
{
	if (!p->rules.require_token)
		return true;
	if (!p->token_checked)
	{
		p->token_valid = seckill_token_admits(p);
		p->token_checked = true;
	}
	return p->token_valid;
}

/* Who needs a token and has none is denied, and learns nothing of the stock. */
static SeckillOutcome
check_token(Purchase *p, SeckillOutcome outcome)
{
	if ((outcome == SECKILL_SOLD || outcome == SECKILL_SOLD_OUT) &&
		!has_token(p))
		return SECKILL_DENIED;
	return outcome;
}

/*
 * Count the call of the user, and refuse it if it is one too many.  Who needs
 * a token and has none may not be the user that he names: his calls do not
 * count.  Without a key nobody has one; that is an error, but not here, as an
 * exact retry needs none.
 */
static bool
keeps_rate(Purchase *p)
{
	if (!seckill_rate_applies(p) ||
		(p->rules.require_token &&
		 (seckill_token_key[0] == '\0' || !has_token(p))) ||
		seckill_rate_admits(p))
		return true;
	p->outcome = SECKILL_RATE_LIMITED;
	return false;
}

/* Leave those in the list who keep to their rate; returns their number. */
static int
drop_rate_limited(Purchase **list, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
		if (keeps_rate(list[i]))
			list[kept++] = list[i];
	return kept;
}

/*
 * Does the purchase go to the worker?  If it is refused, only for its request,
 * whose order may just be made.  The worker looks at the rules again, but not
 * at the token.
 */
static bool
goes_to_worker(Purchase *p)
{
	if (p->outcome == SECKILL_SOLD)
		return true;
	return p->has_request && p->outcome != SECKILL_DENIED && has_token(p);
}

/*
 * Is the request to be looked up here?  The worker does it, too, with the
 * lock; so only where the purchase may not get there.
 */
static bool
answers_request(const Purchase *p, SeckillOutcome outcome)
{
	return p->has_request &&
		(outcome != SECKILL_SOLD || p->rules.require_token);
}

/* In the queue the worker looks at request and limit. */
static void
buy_in_queue(Purchase *p)
{
	SeckillOutcome outcome = seckill_check_rules(p);

	if (!keeps_rate(p) ||
		(answers_request(p, outcome) && seckill_answer_request(p)))
		return;
	p->outcome = check_token(p, outcome);
	if (!goes_to_worker(p))
		return;
	check_without_locks(p);
	p->outcome = seckill_queue_buy(p);
}

/* Let the mode serve those who may buy. */
static void
run_mode(Purchase **list, int n)
{
	LedgerCaller caller;

	n = seckill_admit_users(list, n, true);
	if (n == 0)
		return;
	seckill_ledger_begin(&caller);
	seckill_mode_run(list, n);
	SECKILL_FAULT("mode has run");
	seckill_ledger_end(&caller);
}

static bool
has_requests(Purchase **list, int n)
{
	for (int i = 0; i < n; i++)
		if (list[i]->has_request)
			return true;
	return false;
}

/*
 * Serve purchases of one item, at least one: first who calls too often is
 * refused, then the requests that have an answer get it.  That may mean to
 * wait, so the others look at the rules again.  The list is reordered.
 * Returns the item's entry, pinned.
 */
static StockEntry *
buy_in_transaction(Purchase **list, int n)
{
	SeckillOutcome outcome;
	int64		item_id = list[0]->item_id;
	int			admitted = 0;

	outcome = check_rules_of_all(list, n);
	n = drop_rate_limited(list, n);
	if (has_requests(list, n))
	{
		seckill_stock_unpin(list[0]->entry);
		n = seckill_admit_requests(list, n, true);
		if (n == 0)
			return seckill_entry_find(item_id);
		outcome = check_rules_of_all(list, n);
	}
	for (int i = 0; i < n; i++)
	{
		Purchase   *p = list[i];

		p->outcome = check_token(p, outcome);
		p->admitted = p->outcome == SECKILL_SOLD;
		if (p->admitted)
			list[admitted++] = p;
	}
	if (admitted > 0)
		run_mode(list, admitted);
	/* that of the first may have been found since */
	return list[0]->entry;
}

/*
 * seckill_buy(item_id, user_id, mode, quantity, request_id, token)
 *		returns (outcome, order_id)
 *
 * With a request_id that has made an order of this item already, the answer is
 * that order, whatever the rules and the stock say now; an error, if that was
 * for another user or another quantity.
 *
 * Sold means: an order row in the caller's transaction, or, with mode queue, a
 * committed one.  Every other outcome changed nothing.  Waits are lock waits,
 * bounded by lock_timeout, or, with mode queue, for the worker.
 */
Datum
seckill_buy(PG_FUNCTION_ARGS)
{
	Purchase	p;
	Purchase   *list[] = {&p};
	StatCall	call;

	seckill_stat_begin(&call);
	read_arguments(fcinfo, &p);
	if (p.mode == SECKILL_MODE_QUEUE)
		buy_in_queue(&p);
	else
		p.entry = buy_in_transaction(list, 1);
	if (p.outcome == SECKILL_REQUEST_REUSED)
		seckill_request_reused();
	seckill_stat_end(&call, &p, 1,
					 seckill_stock_index(p.entry));
	seckill_stock_unpin(p.entry);
	SECKILL_FAULT("call counted");
	return seckill_catalog_result(fcinfo, p.outcome,
								  p.outcome == SECKILL_SOLD, p.order_id);
}

/*
 * seckill_submit(item_id, user_id, quantity, request_id, token)
 *		returns (outcome, ticket)
 *
 * Hands a purchase to the worker without waiting for the decision: "queued"
 * with a ticket for seckill_result(), "busy" if the ring is full, or a refusal
 * that is known already.  What is queued is in memory: a crash forgets what is
 * not decided.
 */
Datum
seckill_submit(PG_FUNCTION_ARGS)
{
	Purchase	p;
	uint64		ticket = 0;
	SeckillOutcome outcome;
	StatCall	call;

	seckill_stat_begin(&call);
	seckill_check_writable("seckill_submit()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "user_id");
	seckill_check_argument(PG_ARGISNULL(2), "quantity");
	seckill_init_purchase(&p, PG_GETARG_INT64(0), PG_GETARG_INT64(1),
						  PG_GETARG_INT64(2), SECKILL_MODE_QUEUE);
	check_outside_transaction(fcinfo, "seckill_submit()");
	read_credentials(fcinfo, 3, &p);
	outcome = seckill_check_rules(&p);
	if (keeps_rate(&p))
	{
		p.outcome = check_token(&p, outcome);
		if (goes_to_worker(&p))
			p.outcome = seckill_queue_submit(&p, &ticket);
	}
	seckill_stat_end(&call, &p, 1,
					 seckill_stock_index(p.entry));
	seckill_stock_unpin(p.entry);
	SECKILL_FAULT("submission counted");
	return seckill_catalog_result(fcinfo, p.outcome,
								  p.outcome == SECKILL_QUEUED,
								  (int64) ticket);
}


/*
 * Many at once
 */

/* The elements of an array, which must be flat. */
static int
get_elements(ArrayType *array, const char *name, Oid type, Datum **values,
			 bool **nulls)
{
	int16		length;
	bool		by_value;
	char		align;
	int			n;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must have one dimension", name)));
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, values, nulls, &n);
	return n;
}

/* The same, one for each of n users. */
static void
get_as_many(int n, ArrayType *array, const char *name, Oid type,
			Datum **values, bool **nulls)
{
	if (get_elements(array, name, type, values, nulls) != n)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must have as many elements as user_ids", name)));
}

/* Set the requests of purchases, NULL is none. */
static void
set_requests(Purchase *purchases, int n, ArrayType *requests)
{
	Datum	   *values;
	bool	   *nulls;

	get_as_many(n, requests, "request_ids", UUIDOID, &values, &nulls);
	for (int i = 0; i < n; i++)
	{
		purchases[i].has_request = !nulls[i];
		if (!nulls[i])
			purchases[i].request = *DatumGetUUIDP(values[i]);
	}
}

/* The same for tokens. */
static void
set_tokens(Purchase *purchases, int n, ArrayType *tokens)
{
	Datum	   *values;
	bool	   *nulls;

	get_as_many(n, tokens, "tokens", TEXTOID, &values, &nulls);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			purchases[i].token = DatumGetTextPP(values[i]);
}

/* One purchase of one unit for each user, in the order of the array. */
static Purchase *
make_purchases(int64 item_id, ArrayType *users, SeckillMode mode, int *n)
{
	Datum	   *values;
	bool	   *nulls;
	Purchase   *purchases;

	*n = get_elements(users, "user_ids", INT8OID, &values, &nulls);
	purchases = palloc_extended(Max(*n, 1) * sizeof(Purchase),
								MCXT_ALLOC_HUGE);
	for (int i = 0; i < *n; i++)
	{
		seckill_check_argument(nulls[i], "an element of user_ids");
		seckill_init_purchase(&purchases[i], item_id,
							  DatumGetInt64(values[i]), 1, mode);
	}
	return purchases;
}

/* Serve them all, and count them. */
static void
buy_list(Purchase *purchases, int n, const StatCall *call)
{
	Purchase  **list = palloc_extended(n * sizeof(Purchase *),
									   MCXT_ALLOC_HUGE);
	StockEntry *entry;

	for (int i = 0; i < n; i++)
		list[i] = &purchases[i];
	entry = buy_in_transaction(list, n);
	for (int i = 0; i < n; i++)
		list[i] = &purchases[i];
	seckill_answer_twins(list, n);
	seckill_stat_end(call, purchases, n,
					 seckill_stock_index(entry));
	seckill_stock_unpin(entry);
	pfree(list);
	SECKILL_FAULT("list counted");
}

static void
return_purchases(FunctionCallInfo fcinfo, const Purchase *purchases, int n)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		const Purchase *p = &purchases[i];
		Datum		values[3];
		bool		nulls[3] = {false, false, p->outcome != SECKILL_SOLD};

		values[0] = Int64GetDatum(p->user_id);
		values[1] = ObjectIdGetDatum(seckill_catalog()->outcome[p->outcome]);
		values[2] = Int64GetDatum(p->order_id);
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
}

/*
 * seckill_buy_many(item_id, user_ids, mode, request_ids, tokens)
 *		returns setof (user_id, outcome, order_id)
 *
 * One purchase of one unit for each element, as by so many calls of
 * seckill_buy in a row, in the caller's transaction, at the cost of one lock
 * or one hold.  A user who is there twice buys twice.
 */
Datum
seckill_buy_many(PG_FUNCTION_ARGS)
{
	Purchase   *purchases;
	SeckillMode mode;
	StatCall	call;
	int			n;

	seckill_stat_begin(&call);
	seckill_check_writable("seckill_buy_many()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "user_ids");
	seckill_check_argument(PG_ARGISNULL(2), "mode");
	mode = seckill_catalog_mode(PG_GETARG_OID(2));
	if (mode == SECKILL_MODE_AUTO)
		mode = (SeckillMode) seckill_default_mode;
	if (mode == SECKILL_MODE_QUEUE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("seckill_buy_many() cannot use mode \"queue\""),
				 errhint("It buys in the caller's transaction: use mode \"cache\", or seckill_submit() for each user.")));
	purchases = make_purchases(PG_GETARG_INT64(0), PG_GETARG_ARRAYTYPE_P(1),
							   mode, &n);
	if (!PG_ARGISNULL(3))
		set_requests(purchases, n, PG_GETARG_ARRAYTYPE_P(3));
	if (!PG_ARGISNULL(4))
		set_tokens(purchases, n, PG_GETARG_ARRAYTYPE_P(4));
	if (n > 0)
		buy_list(purchases, n, &call);
	return_purchases(fcinfo, purchases, n);
	return (Datum) 0;
}
