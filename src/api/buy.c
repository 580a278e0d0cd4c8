/*
 * buy.c
 *		The calls that buy: arguments, the rules of the sale, dispatch, result.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "api/purchase_args.h"
#include "api/queue_sql.h"
#include "api/result.h"
#include "base/catalog.h"
#include "base/check.h"
#include "base/fault.h"
#include "base/settings.h"
#include "sale/limits.h"
#include "sale/modes.h"
#include "sale/rules.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/stat.h"
#include "table/plan.h"
#include "xact/entry.h"

PG_FUNCTION_INFO_V1(seckill_buy);
PG_FUNCTION_INFO_V1(seckill_buy_many);


/*
 * Tokens and rates
 */

/* Let the mode serve those who may buy. */
static void
run_mode(Purchase **list, int n)
{
	TableCaller caller;

	n = seckill_limits_admit_users(list, n, true);
	if (n == 0)
		return;
	seckill_table_begin(&caller);
	seckill_modes_run(list, n);
	SECKILL_FAULT("mode has run");
	seckill_table_end(&caller);
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
static CacheEntry *
buy_in_transaction(Purchase **list, int n)
{
	RulesAnswer answer;
	int64		item_id = list[0]->item_id;
	int			admitted = 0;

	answer = seckill_rules_check_all(list, n);
	n = seckill_rules_drop_rate_limited(list, n);
	if (has_requests(list, n))
	{
		seckill_cache_unpin(list[0]->entry);
		n = seckill_limits_admit_requests(list, n, true);
		if (n == 0)
			return seckill_entry_find(item_id);
		answer = seckill_rules_check_all(list, n);
	}
	for (int i = 0; i < n; i++)
	{
		Purchase   *p = list[i];
		RulesAnswer own_answer = seckill_rules_check_token(p, answer);

		p->admitted = own_answer == RULES_PASSED;
		if (p->admitted)
			list[admitted++] = p;
		else
			p->outcome = seckill_rules_refusal(own_answer);
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
	seckill_args_read(fcinfo, &p);
	if (p.mode == SECKILL_MODE_QUEUE)
		seckill_queue_sql_buy(&p);
	else
		p.entry = buy_in_transaction(list, 1);
	if (p.outcome == SECKILL_REQUEST_REUSED)
		seckill_request_reused();
	seckill_stat_end(&call, &p, 1,
					 seckill_cache_index(p.entry));
	seckill_cache_unpin(p.entry);
	SECKILL_FAULT("call counted");
	return seckill_result_outcome(fcinfo, p.outcome,
								  p.outcome == SECKILL_SOLD, p.order_id);
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
			purchases[i].request_id = *DatumGetUUIDP(values[i]);
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
		seckill_args_init_purchase(&purchases[i], item_id,
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
	CacheEntry *entry;

	for (int i = 0; i < n; i++)
		list[i] = &purchases[i];
	entry = buy_in_transaction(list, n);
	for (int i = 0; i < n; i++)
		list[i] = &purchases[i];
	seckill_limits_answer_duplicates(list, n);
	seckill_stat_end(call, purchases, n,
					 seckill_cache_index(entry));
	seckill_cache_unpin(entry);
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
