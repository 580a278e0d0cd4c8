/*
 * queue_sql.c
 *		Purchases that the queue worker decides: mode "queue" of seckill_buy(),
 *		seckill_submit(), seckill_result(), and both for many.
 *
 * The backend checks rate, rules and token before a purchase goes into the
 * ring.  The worker checks rules, request and limit again, but not the token.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "api/purchase_args.h"
#include "api/purchase_arrays.h"
#include "api/queue_sql.h"
#include "api/result.h"
#include "base/catalog.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/node.h"
#include "sale/limits.h"
#include "sale/rules.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/ring.h"
#include "shmem/ring_wait.h"
#include "shmem/stat.h"
#include "table/relation.h"
#include "xact/entry.h"

PG_FUNCTION_INFO_V1(seckill_submit);
PG_FUNCTION_INFO_V1(seckill_submit_many);
PG_FUNCTION_INFO_V1(seckill_result);
PG_FUNCTION_INFO_V1(seckill_result_many);


/*
 * Into the queue
 */

/*
 * Raise an error if the calling statement holds locks that the worker may
 * need: on the tables, or on the same user or request.  With a TRUNCATE that
 * waits for our table lock, the worker would wait for the TRUNCATE, and we for
 * the worker.
 */
static void
check_without_locks(const Purchase *p)
{
	if (seckill_relation_locked_by_me())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("mode \"queue\" cannot be used by a statement that reads seckill.items or seckill.orders"),
				 errhint("Read the tables in a statement before, or use seckill_submit().")));
	if (seckill_limits_locked_by_me(p))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("mode \"queue\" cannot be used by a statement that has tried to buy the same in another mode"),
				 errhint("Call it as a statement of its own.")));
}

/*
 * Does the purchase go to the worker?  One that the rules refuse does if it
 * has a request_id, because another call may just be making the order of it.
 * It needs a valid token all the same, since the worker does not check that.
 */
static bool
goes_to_worker(Purchase *p, RulesAnswer answer)
{
	if (answer == RULES_PASSED)
		return true;
	if (answer == RULES_MOVING || answer == RULES_MOVED)
		return false;
	return p->has_request && answer != RULES_NO_TOKEN &&
		answer != RULES_ONE_BY_ONE && seckill_rules_has_token(p);
}

/*
 * Must the backend look up the order of the request_id?  The worker does so
 * under the lock; here it is needed only if the purchase may not reach the
 * worker.
 */
static bool
answers_request(const Purchase *p, RulesAnswer answer)
{
	return p->has_request &&
		(answer != RULES_PASSED || p->rules.require_token);
}

/*
 * Serve a purchase of seckill_buy() in mode "queue": refuse it, or put it into
 * the ring and wait for the decision.  Sets the outcome, and the order_id if
 * sold.  Raises the error of a purchase that failed in the worker.
 */
void
seckill_queue_sql_buy(Purchase *p)
{
	RulesAnswer answer = seckill_rules_check(p);

	if (answer == RULES_UNKNOWN_ITEM)
		seckill_unknown_item(p->item_id);
	if (answer == RULES_MOVED)
	{
		p->outcome = SECKILL_MOVED;
		return;
	}
	if (!seckill_rules_keeps_rate(p) ||
		(answers_request(p, answer) && seckill_limits_answer_request(p)))
		return;
	answer = seckill_rules_check_own(p, answer);
	if (!goes_to_worker(p, answer))
	{
		p->outcome = seckill_rules_refusal(answer);
		return;
	}
	check_without_locks(p);
	p->outcome = seckill_ring_buy(p, seckill_catalog()->node);
}

/*
 * Check rate, rules and token of a submission, and pin the item's entry in it.
 * Returns whether it goes to the worker; if not, its outcome is set.
 */
static bool
may_submit(Purchase *p)
{
	RulesAnswer answer = seckill_rules_check(p);

	if (answer != RULES_UNKNOWN_ITEM)
	{
		if (!seckill_rules_keeps_rate(p))
			return false;
		answer = seckill_rules_check_own(p, answer);
		if (goes_to_worker(p, answer))
			return true;
	}
	p->outcome = seckill_rules_refusal(answer);
	return false;
}

/*
 * seckill_submit(item_id bigint, user_id bigint, quantity bigint,
 *				  request_id uuid, token text)
 *		returns (outcome seckill_outcome, ticket bigint)
 *
 * Puts a purchase into the ring and returns without waiting for its decision.
 * The outcome is "queued" with a ticket for seckill_result(), "busy" if the
 * ring is full, or a refusal by the rules, the token or the rate.  The ring is
 * in shared memory: a crash loses the purchases that are not decided.
 *
 * Errors: a NULL or invalid argument, an unknown item, a call inside a
 * transaction block or function, no shared_preload_libraries.
 */
Datum
seckill_submit(PG_FUNCTION_ARGS)
{
	Purchase	p;
	Purchase   *list[] = {&p};
	StatCall	call;

	seckill_stat_begin(&call);
	seckill_check_writable("seckill_submit()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "user_id");
	seckill_check_argument(PG_ARGISNULL(2), "quantity");
	seckill_args_init_purchase(&p, PG_GETARG_INT64(0), PG_GETARG_INT64(1),
							   PG_GETARG_INT64(2), SECKILL_MODE_QUEUE);
	seckill_args_check_outside_transaction(fcinfo, "seckill_submit()");
	seckill_args_read_credentials(fcinfo, 3, &p);
	if (may_submit(&p))
		seckill_ring_submit(list, 1);
	if (p.outcome == SECKILL_UNKNOWN_ITEM)
		seckill_unknown_item(p.item_id);
	seckill_stat_end(&call, &p, 1,
					 seckill_cache_index(p.entry));
	seckill_cache_unpin(p.entry);
	SECKILL_FAULT("submission counted");
	return seckill_result_outcome(fcinfo, p.outcome,
								  p.outcome == SECKILL_QUEUED,
								  seckill_node_ticket(seckill_catalog()->node, p.ticket));
}

/*
 * Submit the purchases in their order.  All are checked before the first one
 * is queued, as a check can raise an error.
 */
static void
submit_all(Purchase *purchases, int n)
{
	Purchase  **list = palloc_extended(Max(n, 1) * sizeof(Purchase *),
									   MCXT_ALLOC_HUGE);
	int			checked = 0;

	for (int i = 0; i < n; i++)
	{
		Purchase   *p = &purchases[i];

		CHECK_FOR_INTERRUPTS();
		if (may_submit(p))
			list[checked++] = p;
		seckill_cache_unpin(p->entry);
	}
	SECKILL_FAULT("submissions checked");
	if (checked > 0)
		seckill_ring_submit(list, checked);
	pfree(list);
}

/* Count the answers to the purchases, which are of any items. */
static void
count_all(const Purchase *purchases, int n, StatCall *call)
{
	seckill_stat_share(call, n);
	for (int i = 0; i < n; i++)
	{
		CacheEntry *entry = seckill_entry_find(purchases[i].item_id);

		seckill_stat_end(call, &purchases[i], 1, seckill_cache_index(entry));
		seckill_cache_unpin(entry);
	}
	SECKILL_FAULT("submissions counted");
}

/*
 * seckill_submit_many(item_ids bigint[], user_ids bigint[],
 *					   quantities bigint[], request_ids uuid[], tokens text[])
 *		returns setof (item_id bigint, user_id bigint,
 *					   outcome seckill_outcome, ticket bigint)
 *
 * Puts a purchase for each element into the ring, as seckill_submit() does, in
 * array order.  Returns one row per element, in the same order.  From the
 * first one on that finds the ring full, all are "busy", so that no purchase
 * overtakes one before it.
 *
 * request_ids and tokens may be NULL, and so may their elements.  Without
 * quantities each element is for one unit.
 *
 * Errors: those of seckill_submit(), and arrays of more than one dimension or
 * of different lengths; nothing is queued then.  An item that does not exist
 * is the outcome "unknown_item" of its rows.
 */
Datum
seckill_submit_many(PG_FUNCTION_ARGS)
{
	static const PurchaseArrays args = {
		.item_ids = 0,.user_ids = 1,.quantities = 2,.request_ids = 3,
		.tokens = 4
	};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Purchase   *purchases;
	StatCall	call;
	int			n;

	seckill_stat_begin(&call);
	seckill_check_writable("seckill_submit_many()");
	purchases = seckill_arrays_read(fcinfo, &args, 0, SECKILL_MODE_QUEUE, &n);
	seckill_args_check_outside_transaction(fcinfo, "seckill_submit_many()");
	InitMaterializedSRF(fcinfo, 0);
	submit_all(purchases, n);
	count_all(purchases, n, &call);
	for (int i = 0; i < n; i++)
	{
		const Purchase *p = &purchases[i];
		Datum		values[4];
		bool		nulls[4] = {false, false, false, p->outcome != SECKILL_QUEUED};

		values[0] = Int64GetDatum(p->item_id);
		values[1] = Int64GetDatum(p->user_id);
		values[2] = ObjectIdGetDatum(seckill_catalog()->outcome[p->outcome]);
		values[3] = Int64GetDatum(seckill_node_ticket(seckill_catalog()->node,
													  p->ticket));
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}


/*
 * Out of the queue
 */

/* Raise unless the named function may look tickets up here. */
static void
check_reader(const char *function)
{
	PreventCommandDuringRecovery(function);
	PreventCommandIfParallelMode(function);
	seckill_ring_check_preloaded();
}

/* Read argument i, how long to wait; returns until when. */
static ClockTime
read_wait(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? 0 :
		seckill_clock() + seckill_microseconds(PG_GETARG_INTERVAL_P(i));
}

/*
 * seckill_result(ticket bigint, wait interval)
 *		returns (outcome seckill_outcome, order_id bigint)
 *
 * Returns the outcome of the purchase with this ticket, or "queued" if it is
 * not decided within wait (NULL: no wait).  It changes nothing, so it is
 * allowed inside a transaction, but not on a standby.
 *
 * Errors: an unknown or old ticket, and the error of a purchase that failed in
 * the worker, which is raised here.
 */
Datum
seckill_result(PG_FUNCTION_ARGS)
{
	SeckillOutcome outcome;
	int64		order_id = 0;

	check_reader("seckill_result()");
	seckill_check_argument(PG_ARGISNULL(0), "ticket");
	outcome = seckill_ring_result(seckill_catalog()->node, PG_GETARG_INT64(0),
								  read_wait(fcinfo, 1), &order_id);
	if (outcome == SECKILL_REQUEST_REUSED)
		seckill_request_reused();
	return seckill_result_outcome(fcinfo, outcome, outcome == SECKILL_SOLD,
								  order_id);
}

/* Read an array of tickets, none of which is NULL; sets *n to their number. */
static int64 *
read_tickets(ArrayType *array, int *n)
{
	Datum	   *values;
	bool	   *nulls;
	int64	   *tickets;

	*n = seckill_arrays_elements(array, "tickets", INT8OID, &values, &nulls);
	tickets = palloc_extended(Max(*n, 1) * sizeof(int64), MCXT_ALLOC_HUGE);
	for (int i = 0; i < *n; i++)
	{
		seckill_check_argument(nulls[i], "an element of tickets");
		tickets[i] = DatumGetInt64(values[i]);
	}
	return tickets;
}

/*
 * seckill_result_many(tickets bigint[], wait interval)
 *		returns setof (ticket bigint, outcome seckill_outcome,
 *					   order_id bigint, sqlstate text, message text)
 *
 * Returns what is known of each ticket, a row each, in array order.  If all of
 * them are queued, waits for the first decision, at most for wait (NULL: no
 * wait).
 *
 * What seckill_result() raises for a ticket is the sqlstate and message of its
 * row, which has no outcome then.  A request_id that was used for another
 * purchase is the outcome "request_reused".
 *
 * Errors: NULL tickets, an array of more than one dimension.
 */
Datum
seckill_result_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TicketAnswer *answers;
	int64	   *tickets;
	int			n;

	check_reader("seckill_result_many()");
	seckill_check_argument(PG_ARGISNULL(0), "tickets");
	tickets = read_tickets(PG_GETARG_ARRAYTYPE_P(0), &n);
	answers = palloc_extended(Max(n, 1) * sizeof(TicketAnswer),
							  MCXT_ALLOC_HUGE);
	seckill_ring_results(seckill_catalog()->node, tickets, n,
						 read_wait(fcinfo, 1), answers);
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		const TicketAnswer *answer = &answers[i];
		bool		failed = answer->state != TICKET_QUEUED &&
			answer->state != TICKET_DECIDED;
		Datum		values[5] = {0};
		bool		nulls[5] = {false, failed, true, !failed, !failed};

		values[0] = Int64GetDatum(tickets[i]);
		if (failed)
		{
			values[3] = CStringGetTextDatum(unpack_sql_state(answer->sqlstate));
			values[4] = CStringGetTextDatum(answer->message);
		}
		else
		{
			values[1] = ObjectIdGetDatum(seckill_catalog()->outcome[answer->outcome]);
			values[2] = Int64GetDatum(answer->order_id);
			nulls[2] = answer->outcome != SECKILL_SOLD;
		}
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}
