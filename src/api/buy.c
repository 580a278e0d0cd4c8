/*
 * buy.c
 *		seckill_buy(), seckill_buy_many() and seckill_buy_items().
 *
 * A call reads its arguments, checks the rules of the sale, answers requests
 * that have an order already, runs the mode that sells, and counts its answers
 * in the statistics.  A purchase in mode "queue" goes to the queue worker
 * instead (queue_sql.c).
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "api/buy.h"
#include "api/purchase_args.h"
#include "api/purchase_arrays.h"
#include "api/queue_sql.h"
#include "api/result.h"
#include "base/catalog.h"
#include "base/check.h"
#include "base/fault.h"
#include "base/settings.h"
#include "sale/decide.h"
#include "sale/limits.h"
#include "sale/rules.h"
#include "sale/split.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/stat.h"
#include "table/plan.h"
#include "xact/entry.h"

PG_FUNCTION_INFO_V1(seckill_buy);
PG_FUNCTION_INFO_V1(seckill_buy_many);
PG_FUNCTION_INFO_V1(seckill_buy_items);


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
	seckill_split_run(list, n);
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

/* Set the outcome of purchases that the rules refuse. */
static void
refuse(Purchase **list, int n, RulesAnswer answer)
{
	for (int i = 0; i < n; i++)
		list[i]->outcome = seckill_rules_refusal(answer);
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
	if (answer == RULES_UNKNOWN_ITEM || answer == RULES_MOVED)
	{
		refuse(list, n, answer);
		return list[0]->entry;
	}
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
		RulesAnswer own_answer = seckill_rules_check_own(p, answer);

		p->admitted = own_answer == RULES_PASSED;
		if (p->admitted)
			list[admitted++] = p;
		else
			refuse(&p, 1, own_answer);
	}
	if (admitted > 0)
		run_mode(list, admitted);
	/* the mode may have set the entry of the first purchase */
	return list[0]->entry;
}

/*
 * Serve the purchase of a call that makes one, and count its answer.  Raises
 * an error if the request was used for another purchase or there is no such
 * item.
 */
void
seckill_buy_serve(Purchase *p, const StatCall *call)
{
	if (p->mode == SECKILL_MODE_QUEUE)
		seckill_queue_sql_buy(p);
	else
		p->entry = buy_in_transaction(&p, 1);
	if (p->outcome == SECKILL_REQUEST_REUSED)
		seckill_request_reused();
	if (p->outcome == SECKILL_UNKNOWN_ITEM)
		seckill_unknown_item(p->item_id);
	seckill_stat_end(call, p, 1, seckill_cache_index(p->entry));
	seckill_cache_unpin(p->entry);
	SECKILL_FAULT("call counted");
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
	StatCall	call;

	seckill_stat_begin(&call);
	seckill_args_read(fcinfo, "seckill_buy()", 3, 4, &p);
	seckill_buy_serve(&p, &call);
	return seckill_result_outcome(fcinfo, p.outcome,
								  p.outcome == SECKILL_SOLD, p.order_id);
}


/*
 * Lists of purchases
 */

/*
 * Read the arguments of a call that buys for many, and return the purchases,
 * in array order.
 */
static Purchase *
read_purchases(FunctionCallInfo fcinfo, const PurchaseArrays *args,
			   int64 item_id, const char *function, int *n)
{
	SeckillMode mode;

	seckill_check_argument(PG_ARGISNULL(2), "mode");
	mode = seckill_catalog_mode(PG_GETARG_OID(2));
	if (mode == SECKILL_MODE_AUTO)
		mode = (SeckillMode) seckill_default_mode;
	if (mode == SECKILL_MODE_QUEUE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot use mode \"queue\"", function),
				 errhint("It buys in the caller's transaction: use mode \"cache\", or seckill_submit_many().")));
	return seckill_arrays_read(fcinfo, args, item_id, mode, n);
}

/*
 * Serve at least one purchase of one item.  Returns the entry of the item,
 * pinned, or NULL if it has none.
 */
static CacheEntry *
buy_list(Purchase *purchases, int n)
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
	pfree(list);
	return entry;
}

/* Count the answers in the statistics, and unpin the entry. */
static void
count_list(const Purchase *purchases, int n, CacheEntry *entry,
		   const StatCall *call)
{
	seckill_stat_end(call, purchases, n, seckill_cache_index(entry));
	seckill_cache_unpin(entry);
	SECKILL_FAULT("list counted");
}

/*
 * Return a row for each purchase.  Row i is that of purchases[where[i]], or of
 * purchases[i] if where is NULL.
 */
static void
return_purchases(FunctionCallInfo fcinfo, const Purchase *purchases, int n,
				 const int *where)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			first;			/* the function may return no item_id */

	InitMaterializedSRF(fcinfo, 0);
	first = 4 - result->setDesc->natts;
	for (int i = 0; i < n; i++)
	{
		const Purchase *p = &purchases[where != NULL ? where[i] : i];
		Datum		values[4];
		bool		nulls[4] = {false, false, false, p->outcome != SECKILL_SOLD};

		values[0] = Int64GetDatum(p->item_id);
		values[1] = Int64GetDatum(p->user_id);
		values[2] = ObjectIdGetDatum(seckill_catalog()->outcome[p->outcome]);
		values[3] = Int64GetDatum(p->order_id);
		tuplestore_putvalues(result->setResult, result->setDesc,
							 values + first, nulls + first);
	}
}

/*
 * Read the arguments of a call that buys for many of one item, serve the
 * purchases and count their answers.  Returns them in array order.
 */
Purchase *
seckill_buy_serve_many(FunctionCallInfo fcinfo, const PurchaseArrays *args,
					   const char *function, bool wants_value, int *n)
{
	Purchase   *purchases;
	StatCall	call;
	CacheEntry *entry;

	seckill_stat_begin(&call);
	seckill_check_writable(function);
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	purchases = read_purchases(fcinfo, args, PG_GETARG_INT64(0), function, n);
	if (*n == 0)
		return purchases;
	for (int i = 0; i < *n; i++)
		purchases[i].wants_value = wants_value;
	entry = buy_list(purchases, *n);
	if (purchases[0].outcome == SECKILL_UNKNOWN_ITEM)
	{
		if (purchases[0].rules.legs > 0)
			seckill_has_seats(purchases[0].item_id);
		seckill_unknown_item(purchases[0].item_id);
	}
	count_list(purchases, *n, entry, &call);
	return purchases;
}

/*
 * seckill_buy_many(item_id bigint, user_ids bigint[], mode seckill_mode,
 *					request_ids uuid[], tokens text[], quantities bigint[])
 *		returns setof (user_id bigint, outcome seckill_outcome,
 *					   order_id bigint)
 *
 * Buys units of the item for each element of user_ids, in the caller's
 * transaction.  The outcomes are those of one seckill_buy() per element, in
 * array order, but all purchases share one lock or one hold.  A user that is
 * in the array twice buys twice.  Returns one row per element, in the same
 * order.
 *
 * request_ids and tokens may be NULL, and so may their elements.  Without
 * quantities each element is for one unit.
 *
 * Errors: those of seckill_buy(), an array of more than one dimension, arrays
 * of different lengths, and mode "queue".  A request_id that was used for
 * another purchase is the outcome "request_reused" of its row, not an error.
 */
Datum
seckill_buy_many(PG_FUNCTION_ARGS)
{
	static const PurchaseArrays args = {
		.item_ids = -1,.user_ids = 1,.request_ids = 3,.tokens = 4,
		.quantities = 5
	};
	Purchase   *purchases;
	int			n;

	purchases = seckill_buy_serve_many(fcinfo, &args, "seckill_buy_many()",
									   false, &n);
	return_purchases(fcinfo, purchases, n, NULL);
	return (Datum) 0;
}


/*
 * Purchases of several items
 */

/*
 * Return the purchases sorted by item, those of one item in their order.
 * where[i] is set to the place of purchases[i].
 */
static Purchase *
sort_by_item(Purchase *purchases, int n, int *where)
{
	Purchase  **order = palloc_extended(n * sizeof(Purchase *),
										MCXT_ALLOC_HUGE);
	Purchase   *sorted = palloc_extended(n * sizeof(Purchase),
										 MCXT_ALLOC_HUGE);

	for (int i = 0; i < n; i++)
		order[i] = &purchases[i];
	qsort(order, n, sizeof(Purchase *), seckill_decide_compare);
	for (int i = 0; i < n; i++)
	{
		sorted[i] = *order[i];
		where[order[i] - purchases] = i;
	}
	pfree(order);
	return sorted;
}

/* Return the end of the purchases of one item, which start at first. */
static int
end_of_item(const Purchase *sorted, int n, int first)
{
	int			end = first + 1;

	while (end < n && sorted[end].item_id == sorted[first].item_id)
		end++;
	return end;
}

/*
 * seckill_buy_items(item_ids bigint[], user_ids bigint[], mode seckill_mode,
 *					 quantities bigint[], request_ids uuid[], tokens text[])
 *		returns setof (item_id bigint, user_id bigint,
 *					   outcome seckill_outcome, order_id bigint)
 *
 * Buys in the caller's transaction, for each element, units of its item for
 * its user.  Returns one row per element, in array order.
 *
 * The purchases of one item are served together, as by seckill_buy_many().
 * The items are served in ascending order, so that calls cannot deadlock: one
 * that has locked an item waits only for calls that are at the same item or at
 * a later one.
 *
 * An item that does not exist, or has seats, is the outcome "unknown_item" of
 * its rows.  Otherwise arguments and errors are those of seckill_buy_many().
 */
Datum
seckill_buy_items(PG_FUNCTION_ARGS)
{
	static const PurchaseArrays args = {
		.item_ids = 0,.user_ids = 1,.quantities = 3,.request_ids = 4,
		.tokens = 5
	};
	Purchase   *purchases;
	int		   *where;
	int			n;
	int			end;

	seckill_check_writable("seckill_buy_items()");
	purchases = read_purchases(fcinfo, &args, 0, "seckill_buy_items()", &n);
	where = palloc_extended(Max(n, 1) * sizeof(int), MCXT_ALLOC_HUGE);
	if (n > 0)
		purchases = sort_by_item(purchases, n, where);
	for (int first = 0; first < n; first = end)
	{
		StatCall	call;
		CacheEntry *entry;

		seckill_stat_begin(&call);
		end = end_of_item(purchases, n, first);
		entry = buy_list(&purchases[first], end - first);
		count_list(&purchases[first], end - first, entry, &call);
	}
	return_purchases(fcinfo, purchases, n, where);
	return (Datum) 0;
}
