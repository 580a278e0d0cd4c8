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
#include "base/node.h"
#include "seckill.h"
#include "shmem/ring.h"
#include "shmem/ring_private.h"
#include "shmem/ring_wait.h"

/* Instead of the index of a waiting process. */
#define NOBODY				(-1)

/* A number above all tickets. */
#define END_OF_TICKETS		(UINT64CONST(1) << 53)

/* The ticket that this backend waits for, or 0; and as callers get it. */
static uint64 my_ticket = 0;
static int64 my_ticket_number = 0;

static uint32 decision_event = 0;
static uint32 result_event = 0;


/*
 * Answers
 */

/* There is no outcome: set why. */
static void pg_attribute_printf(4, 5)
set_failure(TicketAnswer *answer, TicketState state, int sqlstate,
			const char *format,...)
{
	va_list		args;

	answer->state = state;
	answer->sqlstate = sqlstate;
	va_start(args, format);
	vsnprintf(answer->message, sizeof(answer->message), format, args);
	va_end(args);
}

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

/* The worker has answered a ticket with an error: fill in *answer. */
static void
read_error(Ring *ring, uint64 ticket, int sqlstate, TicketAnswer *answer)
{
	answer->state = TICKET_FAILED;
	answer->sqlstate = sqlstate;
	if (sqlstate == ERRCODE_UNCONFIRMED)
		strlcpy(answer->message, "purchase was not confirmed by a standby",
				sizeof(answer->message));
	else
		read_message(ring, ticket, answer->message, sizeof(answer->message));
}

/* Raise the answer to a ticket that has no outcome. */
SECKILL_NORETURN static void
raise_answer(int64 ticket, const TicketAnswer *answer)
{
	bool		unconfirmed = answer->sqlstate == ERRCODE_UNCONFIRMED;

	ereport(ERROR,
			(errcode(answer->sqlstate),
			 errmsg("%s", answer->message),
			 unconfirmed ?
			 errdetail("The queue worker was interrupted while it waited for the synchronous standby. The order is on this server, and may be nowhere else.") : 0,
			 unconfirmed ?
			 errhint("Retry with the same request_id.") : 0,
			 answer->state == TICKET_UNKNOWN ?
			 errhint("Tickets are handed out by seckill_submit().") : 0,
			 answer->state == TICKET_ELSEWHERE ?
			 errhint("Ask that node.") : 0,
			 answer->state == TICKET_FORGOTTEN ?
			 errhint("Look for the order in seckill.orders, by item_id and user_id. seckill.queue_size is the number of tickets remembered.") : 0,
			 answer->state == TICKET_FAILED && !unconfirmed ?
			 errcontext("purchase of ticket " INT64_FORMAT " in the queue",
						ticket) : 0));
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
 * outcome, SECKILL_BUSY if the ring is full, and sets order_id and unit.
 * Raises the error of a purchase that failed.  node is the number of this
 * node.
 */
SeckillOutcome
seckill_ring_buy(Purchase *p, int node)
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
	my_ticket_number = seckill_node_ticket(node, ticket);
	SECKILL_FAULT("ticket drawn");
	cell = cell_of(ring, ticket);
	await_decision(ring, cell);
	pg_read_barrier();
	outcome = cell->outcome;
	p->order_id = cell->order_id;
	p->unit = cell->unit;
	error = cell->error;
	pg_memory_barrier();
	pg_atomic_write_u32(&cell->waiter, 0);
	my_ticket = 0;
	SECKILL_FAULT("answer read");
	if (error != 0)
	{
		TicketAnswer answer;

		read_error(ring, ticket, error, &answer);
		raise_answer(my_ticket_number, &answer);
	}
	return outcome;
}

/*
 * Take purchases out of the ring again, the last one first, up to one that a
 * worker has taken.  Returns how many are left in it.
 */
static int
take_out(Ring *ring, Purchase **list, int n)
{
	while (n > 0 &&
		   move_cell(cell_of(ring, list[n - 1]->ticket), list[n - 1]->ticket,
					 CELL_READY, CELL_FREE))
		n--;
	return n;
}

/*
 * Put purchases into the ring, up to the first one for which it is full.
 * Returns how many.  A cell that the list has used itself is not free, even if
 * it has been decided: the caller has not seen its ticket yet.
 */
static int
put_list(Ring *ring, Purchase **list, int n)
{
	int			queued = 0;

	while (queued < n &&
		   (queued == 0 ||
			pg_atomic_read_u64(&ring->tail) < list[0]->ticket + seckill_queue_size) &&
		   seckill_ring_put(ring, list[queued], NOBODY, &list[queued]->ticket))
		queued++;
	return queued;
}

/*
 * Hand purchases to the worker, in the order of the list, without waiting.
 * Sets the outcome of each: SECKILL_QUEUED, with its ticket, or SECKILL_BUSY
 * from the first one on for which the ring is full.  Raises if there is no
 * worker; the purchases are taken out then.
 */
void
seckill_ring_submit(Purchase **list, int n)
{
	Ring	   *ring = seckill_ring_get();
	int			queued;

	seckill_ring_need_worker(ring);
	queued = put_list(ring, list, n);
	SECKILL_FAULT("purchases submitted");
	/* the worker may just have retired */
	if (queued > 0 && !seckill_ring_ensure_worker(ring))
	{
		queued = take_out(ring, list, queued);
		if (queued == 0)
			seckill_ring_no_worker();
	}
	for (int i = 0; i < n; i++)
		list[i]->outcome = i < queued ? SECKILL_QUEUED : SECKILL_BUSY;
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
			 errhint("There may be an order: look it up with seckill_result(" INT64_FORMAT ").",
					 my_ticket_number)));
}


/*
 * Looking up by ticket
 */

/*
 * Return the position in the ring that a ticket stands for.  One of this node
 * has the last bits of a position, which is one of the 2^NODE_BITS before the
 * tail.
 */
static uint64
position_of(Ring *ring, int64 number)
{
	uint64		tail;
	uint64		position;

	if (ring == NULL || seckill_node_of(number) == 0)
		return (uint64) number;
	tail = pg_atomic_read_u64(&ring->tail);
	position = tail - NODE_POSITION(tail) + NODE_POSITION(number);
	return position < tail ? position :
		position - (UINT64CONST(1) << NODE_BITS);
}

/*
 * Is the number a ticket that this ring has given out?  If not, say so in
 * *answer.  It may be a ticket from before a restart; nothing is known about
 * that one.
 */
static bool
check_ticket(Ring *ring, int my_node, int64 number, TicketAnswer *answer)
{
	uint64		ticket = position_of(ring, number);
	int			node = seckill_node_of(number);

	if (number < 0 || (uint64) number >= END_OF_TICKETS)
		set_failure(answer, TICKET_UNKNOWN, ERRCODE_INVALID_PARAMETER_VALUE,
					"there is no ticket " INT64_FORMAT, number);
	else if (node != 0 && node != my_node)
		set_failure(answer, TICKET_ELSEWHERE,
					ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					"ticket " INT64_FORMAT " is of node %d", number, node);
	else if (ring == NULL || ticket < ring->first ||
			 ticket >= pg_atomic_read_u64(&ring->tail))
		set_failure(answer, TICKET_FORGOTTEN,
					ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					"ticket " INT64_FORMAT " is no longer remembered", number);
	else
		return true;
	return false;
}

/*
 * Copy the answer that the cell of a ticket holds into *answer.
 *
 * The state is read again after the answer, because the cell may be reused
 * meanwhile.
 */
static void
look_up(Ring *ring, int my_node, int64 number, TicketAnswer *answer)
{
	uint64		ticket;
	RingCell   *cell;
	uint64		state;
	int			error;

	if (!check_ticket(ring, my_node, number, answer))
		return;
	ticket = position_of(ring, number);
	cell = cell_of(ring, ticket);
	state = pg_atomic_read_u64(&cell->state);
	answer->state = TICKET_QUEUED;
	answer->outcome = SECKILL_QUEUED;
	if (ticket_in(state) <= ticket &&
		state != state_of(ticket, CELL_DECIDED) &&
		state != state_of(ticket, CELL_FREE))
		return;
	pg_read_barrier();
	answer->state = TICKET_DECIDED;
	answer->outcome = cell->outcome;
	answer->order_id = cell->order_id;
	error = cell->error;
	pg_memory_barrier();
	if (ticket_in(state) > ticket ||
		pg_atomic_read_u64(&cell->state) != state)
		set_failure(answer, TICKET_FORGOTTEN,
					ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					"ticket " INT64_FORMAT " is no longer remembered", number);
	else if (phase_in(state) == CELL_FREE)
		set_failure(answer, TICKET_CANCELLED, ERRCODE_QUERY_CANCELED,
					"purchase of ticket " INT64_FORMAT " was cancelled", number);
	else if (error != 0)
		read_error(ring, ticket, error, answer);
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

/* Look all tickets up; return whether none of them is answered. */
static bool
look_up_all(Ring *ring, int node, const int64 *tickets, int n,
			TicketAnswer *answers)
{
	bool		all_queued = n > 0;

	for (int i = 0; i < n; i++)
	{
		look_up(ring, node, tickets[i], &answers[i]);
		if (answers[i].state != TICKET_QUEUED)
			all_queued = false;
	}
	SECKILL_FAULT("tickets looked up");
	return all_queued;
}

/*
 * Set the answers to tickets.  Waits while none of them is answered, up to the
 * given time of seckill_clock().  node is the number of this node.
 */
void
seckill_ring_results(int node, const int64 *tickets, int n, ClockTime until,
					 TicketAnswer *answers)
{
	Ring	   *ring = seckill_ring_of_database(false);

	while (look_up_all(ring, node, tickets, n, answers) && await_batch(ring, until))
		CHECK_FOR_INTERRUPTS();
	ConditionVariableCancelSleep();
}

/*
 * Return the outcome of a ticket and set *order_id; SECKILL_QUEUED if it is
 * not decided before the given time of seckill_clock().  Raises if there is
 * none and will be none.
 */
SeckillOutcome
seckill_ring_result(int node, int64 ticket, ClockTime until, int64 *order_id)
{
	TicketAnswer answer;

	seckill_ring_results(node, &ticket, 1, until, &answer);
	if (answer.state != TICKET_QUEUED && answer.state != TICKET_DECIDED)
		raise_answer(ticket, &answer);
	*order_id = answer.order_id;
	return answer.outcome;
}
