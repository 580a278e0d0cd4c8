/*
 * ring_wait.c
 *		TODO
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/spin.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/fault.h"
#include "base/futex.h"
#include "seckill.h"
#include "shmem/ring.h"
#include "shmem/ring_private.h"
#include "shmem/ring_wait.h"

#define NOBODY				(-1)

#define END_OF_TICKETS		(UINT64CONST(1) << 53)

/* The ticket that I wait for; 0 is none. */
static uint64 my_ticket = 0;

static uint32 decision_event = 0;
static uint32 result_event = 0;


/*
 * Answers
 */

static void
read_message(Ring *q, uint64 ticket, char *message, Size size)
{
	strlcpy(message, "purchase could not be decided", size);
	SpinLockAcquire(&q->error_mutex);
	for (int i = 0; i < RING_ERRORS; i++)
		if (q->errors[i].ticket == ticket)
			memcpy(message, q->errors[i].message, size);
	SpinLockRelease(&q->error_mutex);
}

SECKILL_NORETURN static void
raise_answer(Ring *q, uint64 ticket, int sqlstate)
{
	char		message[sizeof(q->errors[0].message)];

	if (sqlstate == ERRCODE_UNCONFIRMED)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("purchase was not confirmed by a standby"),
				 errdetail("The queue's worker was interrupted as it waited for the synchronous standby. The order is on this server only, as far as is known."),
				 errhint("Ask again with the same request_id.")));
	read_message(q, ticket, message, sizeof(message));
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("%s", message),
			 errcontext("purchase of ticket " UINT64_FORMAT " in the queue",
						ticket)));
}

static bool
is_decided(RingCell *cell, uint64 ticket)
{
	return pg_atomic_read_u64(&cell->state) ==
		state_of(ticket, CELL_DECIDED);
}

/*
 * Sleep until the worker has decided my ticket.  A worker that dies is started
 * again by the postmaster, and one that retires looks at the ring once more.
 * ANSWERED alone proves nothing: it may be meant for a purchase of mine that I
 * have left, one round earlier.
 */
static void
await_decision(Ring *q, RingCell *cell)
{
	uint32		waiter;

	seckill_ring_need_worker(q);	/* it may just have retired */
	for (;;)
	{
		waiter = pg_atomic_read_u32(&cell->waiter);
		pg_memory_barrier();
		if (is_decided(cell, my_ticket))
			break;
		CHECK_FOR_INTERRUPTS();
		SECKILL_FAULT("decision not there");
		seckill_futex_sleep(&cell->waiter, waiter,
							SeckillWaitEvent(&decision_event,
											 "SeckillQueue"));
	}
}

/*
 * mode queue: hand the purchase to the worker and wait for the decision.
 */
SeckillOutcome
seckill_ring_buy(Purchase *p)
{
	Ring	   *q = seckill_ring_get();
	RingCell   *cell;
	uint64		ticket;
	SeckillOutcome outcome;
	int			error;

	seckill_ring_need_worker(q);
	if (!seckill_ring_put(q, p, SeckillMyProcIndex(), &ticket))
		return SECKILL_BUSY;
	my_ticket = ticket;
	SECKILL_FAULT("ticket drawn");
	cell = cell_of(q, ticket);
	await_decision(q, cell);
	pg_read_barrier();
	outcome = cell->outcome;
	p->order_id = cell->order_id;
	error = cell->error;
	pg_memory_barrier();
	pg_atomic_write_u32(&cell->waiter, 0);
	my_ticket = 0;
	SECKILL_FAULT("answer read");
	if (error != 0)
		raise_answer(q, ticket, error);
	return outcome;
}

/*
 * Hand the purchase to the worker and do not wait.
 */
SeckillOutcome
seckill_ring_submit(const Purchase *p, uint64 *ticket)
{
	Ring	   *q = seckill_ring_get();

	seckill_ring_need_worker(q);
	if (!seckill_ring_put(q, p, NOBODY, ticket))
		return SECKILL_BUSY;
	SECKILL_FAULT("purchase submitted");
	/* it may just have retired */
	if (!seckill_ring_ensure_worker(q) &&
		move_cell(cell_of(q, *ticket), *ticket, CELL_READY, CELL_FREE))
		seckill_ring_no_worker();
	return SECKILL_QUEUED;
}

/*
 * The transaction of a buyer who waits is aborted: take his purchase out, or
 * say that it is too late.  Called in the abort callback.
 */
void
seckill_ring_abandon(void)
{
	uint64		ticket = my_ticket;
	RingCell   *cell;

	if (ticket == 0)
		return;
	my_ticket = 0;
	cell = cell_of(seckill_my_ring, ticket);
	if (move_cell(cell, ticket, CELL_READY, CELL_FREE))
	{
		pg_atomic_write_u32(&cell->waiter, 0);
		return;
	}
	pg_atomic_write_u32(&cell->waiter, 0);
	ereport(WARNING,
			(errmsg("purchase was being decided when its buyer left"),
			 errhint("An order may stand: ask for it with seckill_result(" UINT64_FORMAT ").",
					 ticket)));
}


/*
 * By ticket
 */

SECKILL_NORETURN static void
forgotten(uint64 ticket)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("ticket " UINT64_FORMAT " is no longer remembered",
					ticket),
			 errhint("Look for the order in seckill.orders, by item_id and user_id. seckill.queue_size is the number of tickets remembered.")));
}

/*
 * Copy what the cell of a ticket says; SECKILL_QUEUED if it is not decided.
 */
static SeckillOutcome
look_up(Ring *q, uint64 ticket, int64 *order_id)
{
	RingCell   *cell = cell_of(q, ticket);
	uint64		state = pg_atomic_read_u64(&cell->state);
	SeckillOutcome outcome;
	int			error;

	if (ticket_in(state) > ticket)
		forgotten(ticket);
	if (state != state_of(ticket, CELL_DECIDED) &&
		state != state_of(ticket, CELL_FREE))
		return SECKILL_QUEUED;
	pg_read_barrier();
	outcome = cell->outcome;
	*order_id = cell->order_id;
	error = cell->error;
	pg_memory_barrier();
	if (pg_atomic_read_u64(&cell->state) != state)
		forgotten(ticket);
	if (phase_in(state) == CELL_FREE)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("purchase of ticket " UINT64_FORMAT " was cancelled",
						ticket)));
	if (error != 0)
		raise_answer(q, ticket, error);
	return outcome;
}

/* Sleep until the next batch, or the end of wait_ms: then false. */
static bool
await_batch(Ring *q, ClockTime until)
{
	ClockTime	now = seckill_clock();

	if (now >= until)
		return false;
	(void) ConditionVariableTimedSleep(&q->decided,
									   (long) Min((until - now + 999) / 1000, INT_MAX),
									   SeckillWaitEvent(&result_event,
														"SeckillResult"));
	return true;
}

/*
 * A ticket of this life of the queue, or an error.  One that this life has not
 * handed out may be of another.
 */
static uint64
check_ticket(Ring *q, int64 number)
{
	uint64		ticket = (uint64) number;

	if (number < 0 || ticket >= END_OF_TICKETS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no ticket " INT64_FORMAT, number),
				 errhint("Tickets are handed out by seckill_submit().")));
	if (q == NULL || ticket < q->first ||
		ticket >= pg_atomic_read_u64(&q->tail))
		forgotten(ticket);
	return ticket;
}

/*
 * What was decided for a ticket; SECKILL_QUEUED if that is not known after
 * waiting until a time by seckill_clock().  Raises the error of a purchase that
 * failed.
 */
SeckillOutcome
seckill_ring_result(int64 number, ClockTime until, int64 *order_id)
{
	Ring	   *q = seckill_ring_of_database(false);
	uint64		ticket = check_ticket(q, number);
	SeckillOutcome outcome;

	do
	{
		CHECK_FOR_INTERRUPTS();
		outcome = look_up(q, ticket, order_id);
		SECKILL_FAULT("ticket looked up");
	} while (outcome == SECKILL_QUEUED && await_batch(q, until));
	ConditionVariableCancelSleep();
	return outcome;
}
