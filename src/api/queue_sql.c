/*
 * queue_sql.c
 *		TODO
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
#include "shmem/ring_wait.h"
#include "shmem/stat.h"
#include "table/relation.h"

PG_FUNCTION_INFO_V1(seckill_submit);


/*
 * Arguments
 */

/*
 * The same for the locks of the statement that calls: if somebody waited to
 * truncate the tables, the worker would wait for him, and he for us.
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
 * Tokens and rates
 */

/*
 * Does the purchase go to the worker?  If it is refused, only for its request,
 * whose order may just be made.  The worker looks at the rules again, but not
 * at the token.
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
 * Is the request to be looked up here?  The worker does it, too, with the
 * lock; so only where the purchase may not get there.
 */
static bool
answers_request(const Purchase *p, RulesAnswer answer)
{
	return p->has_request &&
		(answer != RULES_PASSED || p->rules.require_token);
}

/* In the queue the worker looks at request and limit. */
void
seckill_queue_sql_buy(Purchase *p)
{
	RulesAnswer answer = seckill_rules_check(p);

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

PG_FUNCTION_INFO_V1(seckill_result);


/*
 * By ticket
 */

/*
 * seckill_result(ticket, wait) returns (outcome, order_id)
 *
 * What was decided for a ticket, or "queued" while it is not, after waiting
 * for so long (NULL: not at all).  A purchase that failed raises its error
 * here.
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
