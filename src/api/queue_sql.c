/*
 * queue_sql.c
 *		Purchases that the queue worker decides: mode "queue" of seckill_buy(),
 *		seckill_submit() and seckill_result().
 *
 * The backend checks rate, rules and token before a purchase goes into the
 * ring.  The worker checks rules, request and limit again, but not the token.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "api/purchase_args.h"
#include "api/queue_sql.h"
#include "api/result.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "sale/limits.h"
#include "sale/rules.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/ring.h"
#include "shmem/ring_wait.h"
#include "shmem/stat.h"
#include "table/relation.h"

PG_FUNCTION_INFO_V1(seckill_submit);
PG_FUNCTION_INFO_V1(seckill_result);


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
	return p->has_request && answer != RULES_NO_TOKEN &&
		seckill_rules_has_token(p);
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
	if (!seckill_rules_keeps_rate(p) ||
		(answers_request(p, answer) && seckill_limits_answer_request(p)))
		return;
	answer = seckill_rules_check_token(p, answer);
	if (!goes_to_worker(p, answer))
	{
		p->outcome = seckill_rules_refusal(answer);
		return;
	}
	check_without_locks(p);
	p->outcome = seckill_ring_buy(p);
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
	uint64		ticket = 0;
	RulesAnswer answer;
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
	answer = seckill_rules_check(&p);
	if (answer == RULES_UNKNOWN_ITEM)
		seckill_unknown_item(p.item_id);
	if (seckill_rules_keeps_rate(&p))
	{
		answer = seckill_rules_check_token(&p, answer);
		p.outcome = goes_to_worker(&p, answer) ?
			seckill_ring_submit(&p, &ticket) : seckill_rules_refusal(answer);
	}
	seckill_stat_end(&call, &p, 1,
					 seckill_cache_index(p.entry));
	seckill_cache_unpin(p.entry);
	SECKILL_FAULT("submission counted");
	return seckill_result_outcome(fcinfo, p.outcome,
								  p.outcome == SECKILL_QUEUED,
								  (int64) ticket);
}


/*
 * Out of the queue
 */

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
	ClockTime	until = 0;
	SeckillOutcome outcome;
	int64		order_id = 0;

	PreventCommandDuringRecovery("seckill_result()");
	PreventCommandIfParallelMode("seckill_result()");
	seckill_check_argument(PG_ARGISNULL(0), "ticket");
	seckill_ring_check_preloaded();
	if (!PG_ARGISNULL(1))
		until = seckill_clock() +
			seckill_microseconds(PG_GETARG_INTERVAL_P(1));
	outcome = seckill_ring_result(PG_GETARG_INT64(0), until, &order_id);
	if (outcome == SECKILL_REQUEST_REUSED)
		seckill_request_reused();
	return seckill_result_outcome(fcinfo, outcome, outcome == SECKILL_SOLD,
								  order_id);
}
