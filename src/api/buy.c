/*
 * buy.c
 *		seckill_buy() and seckill_buy_many().
 *
 * A call reads its arguments, checks the rules of the sale, answers requests
 * that have an order already, runs the mode that sells, and counts its answers
 * in the statistics.  A purchase in mode "queue" goes to the queue worker
 * instead (queue_sql.c).
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
 * Purchases in the caller's transaction
 */

/*
 * Check limits, and run the mode for the purchases that pass.  Waits for other
 * purchases of the same users.
 */
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

/* Has any purchase of the list a request_id? */
static bool
has_requests(Purchase **list, int n)
{
	for (int i = 0; i < n; i++)
		if (list[i]->has_request)
			return true;
	return false;
}

/*
 * Serve at least one purchase of one item, and set their outcomes.
 *
 * First it refuses the calls above the rate.  Then it answers the requests
 * that have an order already.  That can wait for another transaction, so the
 * rules are checked again for the rest.  The list is reordered.  Returns the
 * entry of the item, pinned, or NULL if it has none.
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
	/* the mode may have set the entry of the first purchase */
	return list[0]->entry;
}

/*
 * seckill_buy(item_id bigint, user_id bigint, mode seckill_mode,
 *			   quantity bigint, request_id uuid, token text)
 *		returns (outcome seckill_outcome, order_id bigint)
 *
 * Buys quantity units of the item for the user.  request_id and token may be
 * NULL, the other arguments may not.
 *
 * "sold" means that the order is a row of the caller's transaction, or, in
 * mode "queue", a committed row.  Every other outcome changes nothing;
 * order_id is NULL then.
 *
 * request_id is an idempotency key.  If it has made an order of the item
 * before, that order is the answer, whatever the rules and the stock are now.
 *
 * The call can wait for locks, for at most lock_timeout, and in mode "queue"
 * for the queue worker.
 *
 * Errors: a NULL or invalid argument, an unknown item, a request_id that was
 * used for another user or quantity, a mode that is not allowed or not
 * available, a transaction that cannot write, and those of the mode
 * (serialization_failure, deadlock_detected, lock_not_available).
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
 * Lists of purchases
 */

/*
 * Read the elements of a one-dimensional array of the given type; returns how
 * many.  Raises an error if the array has more dimensions.
 */
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

/*
 * Read the elements of an array of the given type.  Raises an error unless it
 * has n elements, one for each user.
 */
static void
get_as_many(int n, ArrayType *array, const char *name, Oid type,
			Datum **values, bool **nulls)
{
	if (get_elements(array, name, type, values, nulls) != n)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must have as many elements as user_ids", name)));
}

/* Set the request_id of each purchase; NULL is none. */
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

/* Set the token of each purchase; NULL is none. */
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

/*
 * Make a purchase of one unit for each user, in array order; sets *n to their
 * number, which can be 0.
 */
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

/* Serve the purchases, and count their answers in the statistics. */
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

/* Return a row for each purchase, in their order. */
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
 * seckill_buy_many(item_id bigint, user_ids bigint[], mode seckill_mode,
 *					request_ids uuid[], tokens text[])
 *		returns setof (user_id bigint, outcome seckill_outcome,
 *					   order_id bigint)
 *
 * Buys one unit of the item for each element of user_ids, in the caller's
 * transaction.  The outcomes are those of one seckill_buy() per element, in
 * array order, but all purchases share one lock or one hold.  A user that is
 * in the array twice buys twice.  Returns one row per element, in the same
 * order.
 *
 * request_ids and tokens may be NULL, and so may their elements.
 *
 * Errors: those of seckill_buy(), an array of more than one dimension, arrays
 * of different lengths, and mode "queue".  A request_id that was used for
 * another user is the outcome "request_reused" of its row, not an error.
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
