/*
 * ring_wait.c
 *		The buyers' side of the queue: hand a purchase in, wait for its answer,
 *		leave, and look an answer up by ticket.
 *
 * A buyer that waits sleeps on the waiter word of its cell.  It is woken by
 * the worker when the answer is published.  Sessions that look an answer up
 * sleep on the ring's condition variable, which each batch broadcasts.
 *
 * A backend waits for one ticket at a time, kept here until the answer has
 * been read or the transaction aborts.  See ring.c for who may change what.
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

/* Instead of the index of a waiting process. */
#define NOBODY				(-1)

/* A number above all tickets. */
#define END_OF_TICKETS		(UINT64CONST(1) << 53)

/* The ticket that this backend waits for, or 0. */
static uint64 my_ticket = 0;

static uint32 decision_event = 0;
static uint32 result_event = 0;


/*
 * Answers
 */

/*
 * Copy the error message of a ticket, or a substitute if it has been
 * overwritten.
 */
static void
read_message(Ring *ring, uint64 ticket, char *message, Size size)
{
	strlcpy(message, "purchase could not be decided", size);
	SpinLockAcquire(&ring->error_mutex);
	for (int i = 0; i < RING_ERRORS; i++)
		if (ring->errors[i].ticket == ticket)
			memcpy(message, ring->errors[i].message, size);
	SpinLockRelease(&ring->error_mutex);
}

/* Raise the error that is the answer to a ticket. */
SECKILL_NORETURN static void
raise_answer(Ring *ring, uint64 ticket, int sqlstate)
{
	char		message[sizeof(ring->errors[0].message)];

	if (sqlstate == ERRCODE_UNCONFIRMED)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("purchase was not confirmed by a standby"),
				 errdetail("The queue worker was interrupted while it waited for the synchronous standby. The order is on this server, and may be nowhere else."),
				 errhint("Retry with the same request_id.")));
	read_message(ring, ticket, message, sizeof(message));
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("%s", message),
			 errcontext("purchase of ticket " UINT64_FORMAT " in the queue",
						ticket)));
}

/* Does the cell have the decision of this ticket? */
static bool
is_decided(RingCell *cell, uint64 ticket)
{
	return pg_atomic_read_u64(&cell->state) ==
		state_of(ticket, CELL_DECIDED);
}

/*
 * Sleep until the worker has decided my_ticket; raises if interrupted, or if
 * there is no worker.
 *
 * A worker that dies is restarted by the postmaster, and one that retires
 * looks at the ring once more.  ANSWERED alone proves nothing: it may be meant
 * for a purchase one round earlier that this backend has left.
 */
static void
await_decision(Ring *ring, RingCell *cell)
{
	uint32		waiter;

	seckill_ring_need_worker(ring); /* the worker may just have retired */
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
 * Hand a purchase to the worker and wait for the decision.  Returns the
 * outcome, SECKILL_BUSY if the ring is full, and sets order_id.  Raises the
 * error of a purchase that failed.
 */
SeckillOutcome
seckill_ring_buy(Purchase *p)
{
	Ring	   *ring = seckill_ring_get();
	RingCell   *cell;
	uint64		ticket;
	SeckillOutcome outcome;
	int			error;

	seckill_ring_need_worker(ring);
	if (!seckill_ring_put(ring, p, SeckillMyProcIndex(), &ticket))
		return SECKILL_BUSY;
	my_ticket = ticket;
	SECKILL_FAULT("ticket drawn");
	cell = cell_of(ring, ticket);
	await_decision(ring, cell);
	pg_read_barrier();
	outcome = cell->outcome;
	p->order_id = cell->order_id;
	error = cell->error;
	pg_memory_barrier();
	pg_atomic_write_u32(&cell->waiter, 0);
	my_ticket = 0;
	SECKILL_FAULT("answer read");
	if (error != 0)
		raise_answer(ring, ticket, error);
	return outcome;
}

/*
 * Hand a purchase to the worker without waiting.  Returns SECKILL_QUEUED and
 * sets *ticket, or SECKILL_BUSY if the ring is full.  Raises if there is no
 * worker; the purchase is taken out then.
 */
SeckillOutcome
seckill_ring_submit(const Purchase *p, uint64 *ticket)
{
	Ring	   *ring = seckill_ring_get();

	seckill_ring_need_worker(ring);
	if (!seckill_ring_put(ring, p, NOBODY, ticket))
		return SECKILL_BUSY;
	SECKILL_FAULT("purchase submitted");
	/* the worker may just have retired */
	if (!seckill_ring_ensure_worker(ring) &&
		move_cell(cell_of(ring, *ticket), *ticket, CELL_READY, CELL_FREE))
		seckill_ring_no_worker();
	return SECKILL_QUEUED;
}

/*
 * The transaction of a waiting buyer is aborted: take the purchase out, or
 * warn that it may have been decided.  For the abort callback; raises nothing
 * above a warning.
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
			 errhint("There may be an order: look it up with seckill_result(" UINT64_FORMAT ").",
					 ticket)));
}


/*
 * Looking up by ticket
 */

/* Raise: the answer to a ticket is not known. */
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
 * Copy the answer that the cell of a ticket holds; SECKILL_QUEUED if it is not
 * decided.  Raises the purchase's error, or if the ticket is no longer
 * remembered or was cancelled.
 *
 * The state is read again after the answer, because the cell may be reused
 * meanwhile.
 */
static SeckillOutcome
look_up(Ring *ring, uint64 ticket, int64 *order_id)
{
	RingCell   *cell = cell_of(ring, ticket);
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
		raise_answer(ring, ticket, error);
	return outcome;
}

/* Sleep until the next batch or the given time; false if that has passed. */
static bool
await_batch(Ring *ring, ClockTime until)
{
	ClockTime	now = seckill_clock();

	if (now >= until)
		return false;
	(void) ConditionVariableTimedSleep(&ring->decided,
									   (long) Min((until - now + 999) / 1000, INT_MAX),
									   SeckillWaitEvent(&result_event,
														"SeckillResult"));
	return true;
}

/*
 * Return number as a ticket of this ring, or raise.  A number that this ring
 * has not given out may be a ticket from before a restart; nothing is known
 * about it.
 */
static uint64
check_ticket(Ring *ring, int64 number)
{
	uint64		ticket = (uint64) number;

	if (number < 0 || ticket >= END_OF_TICKETS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no ticket " INT64_FORMAT, number),
				 errhint("Tickets are handed out by seckill_submit().")));
	if (ring == NULL || ticket < ring->first ||
		ticket >= pg_atomic_read_u64(&ring->tail))
		forgotten(ticket);
	return ticket;
}

/*
 * Return the outcome of a ticket and set *order_id; SECKILL_QUEUED if it is
 * not decided before the given time of seckill_clock().  Raises the error of a
 * purchase that failed, and what look_up() raises.
 */
SeckillOutcome
seckill_ring_result(int64 number, ClockTime until, int64 *order_id)
{
	Ring	   *ring = seckill_ring_of_database(false);
	uint64		ticket = check_ticket(ring, number);
	SeckillOutcome outcome;

	do
	{
		CHECK_FOR_INTERRUPTS();
		outcome = look_up(ring, ticket, order_id);
		SECKILL_FAULT("ticket looked up");
	} while (outcome == SECKILL_QUEUED && await_batch(ring, until));
	ConditionVariableCancelSleep();
	return outcome;
}
