/*
 * ring_worker.c
 *		The worker's side of the queue: claim the ring, read purchases, publish
 *		decisions.
 *
 * A ring has one worker at most: the process that has set worker to
 * WORKER_RUNNING, under seckill_rings->lock.  Only that process calls the
 * functions below, on seckill_my_ring.  It keeps no state of its own here.
 * See ring.c for who may change what.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

#include "base/check.h"
#include "base/fault.h"
#include "base/futex.h"
#include "seckill.h"
#include "shmem/ring.h"
#include "shmem/ring_private.h"
#include "shmem/ring_worker.h"

/*
 * Become the worker of a database's ring; false if it has a worker, or no
 * ring.  *failures is the number of workers that failed to start since one
 * succeeded.
 */
bool
seckill_ring_claim(Oid dbid, uint32 *failures)
{
	Ring	   *ring;
	bool		claimed;

	LWLockAcquire(seckill_rings->lock, LW_EXCLUSIVE);
	ring = seckill_ring_find(dbid);
	claimed = ring != NULL && pg_atomic_read_u32(&ring->worker) != WORKER_RUNNING;
	if (claimed)
	{
		ring->pid = MyProcPid;
		ring->latch = MyLatch;
		pg_atomic_write_u32(&ring->sleeping, 0);
		pg_atomic_write_u32(&ring->worker, WORKER_RUNNING);
		seckill_my_ring = ring;
		*failures = pg_atomic_fetch_add_u32(&ring->failures, 1);
	}
	LWLockRelease(seckill_rings->lock);
	return claimed;
}

/* The worker has started successfully. */
void
seckill_ring_started(void)
{
	pg_atomic_write_u32(&seckill_my_ring->failures, 0);
}

/*
 * The worker ends: for good, or to be restarted by the postmaster.  If the
 * database was dropped meanwhile, the ring may already belong to another
 * database and worker: then it is left alone.
 */
void
seckill_ring_release(bool restart)
{
	LWLockAcquire(seckill_rings->lock, LW_EXCLUSIVE);
	if (seckill_my_ring->pid == MyProcPid)
	{
		seckill_my_ring->pid = 0;
		pg_atomic_write_u32(&seckill_my_ring->sleeping, 0);
		pg_atomic_write_u32(&seckill_my_ring->worker,
							restart ? WORKER_STARTING : WORKER_NONE);
	}
	LWLockRelease(seckill_rings->lock);
}

/* Move head past all purchases that are decided or left, and return it. */
static uint64
advance_head(Ring *ring)
{
	uint64		head = pg_atomic_read_u64(&ring->head);
	uint64		tail = pg_atomic_read_u64(&ring->tail);

	while (head < tail)
	{
		uint64		state = pg_atomic_read_u64(&cell_of(ring, head)->state);

		if (ticket_in(state) < head ||
			(ticket_in(state) == head && !is_over(state)))
			break;
		head++;
	}
	pg_atomic_write_u64(&ring->head, head);
	return head;
}

/*
 * Is there a purchase to decide?  A producer that is still putting one in will
 * wake us.
 */
static bool
has_work(Ring *ring)
{
	uint64		head = advance_head(ring);

	return ticket_in(pg_atomic_read_u64(&cell_of(ring, head)->state)) == head;
}

/*
 * The idle worker wants to end; returns false if it has to go on, because a
 * purchase has come in and no other worker is running.  A producer reads
 * worker after its cell is READY, and we read the cells after worker is
 * WORKER_NONE: either it finds no worker, or we find its cell.
 */
bool
seckill_ring_retire(void)
{
	seckill_ring_release(false);
	pg_memory_barrier();
	if (!has_work(seckill_my_ring))
		return true;
	LWLockAcquire(seckill_rings->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&seckill_my_ring->worker) == WORKER_RUNNING)
	{
		LWLockRelease(seckill_rings->lock);
		return true;
	}
	seckill_my_ring->pid = MyProcPid;
	pg_atomic_write_u32(&seckill_my_ring->worker, WORKER_RUNNING);
	LWLockRelease(seckill_rings->lock);
	return false;
}

/* Sleep until a producer wakes us; false if the timeout ends the sleep. */
static bool
await_producer(int timeout_ms)
{
	int			events = WaitLatch(MyLatch,
								   WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
								   timeout_ms, seckill_ring_worker_wait_event());

	ResetLatch(MyLatch);
	return (events & WL_LATCH_SET) != 0;
}

/* Sleep until there is a purchase; false if the timeout ends the sleep. */
bool
seckill_ring_sleep(int timeout_ms)
{
	bool		woken = true;

	pg_atomic_write_u32(&seckill_my_ring->sleeping, 1);
	pg_memory_barrier();
	if (!has_work(seckill_my_ring))
		woken = await_producer(timeout_ms);
	pg_atomic_write_u32(&seckill_my_ring->sleeping, 0);
	return woken;
}

/* Sleep until the timeout, or until tail has moved past seen. */
void
seckill_ring_nap(uint64 seen, int timeout_ms)
{
	pg_atomic_write_u32(&seckill_my_ring->sleeping, 1);
	pg_memory_barrier();
	if (pg_atomic_read_u64(&seckill_my_ring->tail) == seen)
		(void) await_producer(timeout_ms);
	pg_atomic_write_u32(&seckill_my_ring->sleeping, 0);
}

/* Return the range of all purchases that are in the ring now. */
RingRange
seckill_ring_range(void)
{
	RingRange	range;

	range.next = advance_head(seckill_my_ring);
	range.end = pg_atomic_read_u64(&seckill_my_ring->tail);
	return range;
}

/*
 * Read up to max purchases of the range, in ticket order, of the items that
 * accept() accepts; returns how many, and moves range->next past them.  A cell
 * that its producer has not finished ends the range, for no later ticket may
 * overtake it.  If a buyer leaves while its cell is read, the copy may be
 * garbage; seckill_ring_take() refuses it.
 */
int
seckill_ring_read(RingRange *range, Purchase *jobs, int max,
				  RingFilter accept, const void *arg)
{
	int			n = 0;

	while (range->next < range->end && n < max)
	{
		uint64		ticket = range->next++;
		RingCell   *cell = cell_of(seckill_my_ring, ticket);
		uint64		state = pg_atomic_read_u64(&cell->state);

		if (ticket_in(state) < ticket)
		{
			range->end = ticket;
			break;
		}
		if (ticket_in(state) > ticket || is_over(state))
			continue;
		pg_read_barrier();
		if (!accept(cell->item_id, arg))
			continue;
		memset(&jobs[n], 0, sizeof(Purchase));
		jobs[n].ticket = ticket;
		jobs[n].item_id = cell->item_id;
		jobs[n].user_id = cell->user_id;
		jobs[n].quantity = cell->quantity;
		jobs[n].has_request = cell->has_request;
		jobs[n].request_id = cell->request_id;
		jobs[n].trip = cell->trip;
		jobs[n].queued_at = cell->queued_at;
		jobs[n].mode = jobs[n].selling_mode = SECKILL_MODE_QUEUE;
		jobs[n].outcome = SECKILL_QUEUED;
		n++;
	}
	return n;
}

/* The purchase is decided now; false if the buyer has left. */
bool
seckill_ring_take(const Purchase *job)
{
	RingCell   *cell = cell_of(seckill_my_ring, job->ticket);

	return move_cell(cell, job->ticket, CELL_READY, CELL_TAKEN) ||
		pg_atomic_read_u64(&cell->state) == state_of(job->ticket, CELL_TAKEN);
}

/* Does a session wait for the decision? */
bool
seckill_ring_awaited(const Purchase *job)
{
	return pg_atomic_read_u32(&cell_of(seckill_my_ring, job->ticket)->waiter) != 0;
}

/* The purchase is deferred: its buyer may leave again. */
void
seckill_ring_put_back(const Purchase *job)
{
	RingCell   *cell = cell_of(seckill_my_ring, job->ticket);

	(void) move_cell(cell, job->ticket, CELL_TAKEN, CELL_READY);
}

/* Publish the answer to a purchase and wake its buyer.  Raises nothing. */
static void
finish(const Purchase *job, int error)
{
	RingCell   *cell = cell_of(seckill_my_ring, job->ticket);
	uint32		waiter;

	SECKILL_CRASH("decision committed");
	cell->outcome = job->outcome;
	cell->order_id = job->order_id;
	cell->unit = job->unit;
	cell->error = error;
	/* a full barrier, so that the waiter is read after */
	(void) pg_atomic_exchange_u64(&cell->state,
								  state_of(job->ticket, CELL_DECIDED));
	waiter = pg_atomic_read_u32(&cell->waiter);
	if (waiter != 0 &&
		pg_atomic_compare_exchange_u32(&cell->waiter, &waiter,
									   waiter | ANSWERED))
		seckill_futex_wake(&cell->waiter, (waiter & ~ANSWERED) - 1);
}

/*
 * The transaction that decided these purchases has committed: publish the
 * answers, except for those left undecided.  If a synchronous standby has not
 * confirmed the commit, a purchase that was sold gets an error instead,
 * because its order may be lost in a failover.  For the commit callback;
 * raises nothing.
 */
void
seckill_ring_publish(const Purchase *jobs, int n, bool confirmed)
{
	for (int i = 0; i < n; i++)
		if (jobs[i].outcome != SECKILL_QUEUED)
			finish(&jobs[i], confirmed || jobs[i].outcome != SECKILL_SOLD ?
				   0 : ERRCODE_UNCONFIRMED);
	SECKILL_CRASH("decisions published");
	ConditionVariableBroadcast(&seckill_my_ring->decided);
}

/* The purchase cannot be decided: publish the error as its answer. */
void
seckill_ring_fail(const Purchase *job, const ErrorData *error)
{
	RingError  *kept;
	const char *message = seckill_process_message(error);
	int			length = pg_mbcliplen(message, strlen(message),
									  sizeof(kept->message) - 1);

	SpinLockAcquire(&seckill_my_ring->error_mutex);
	kept = &seckill_my_ring->errors[seckill_my_ring->next_error];
	seckill_my_ring->next_error = (seckill_my_ring->next_error + 1) % RING_ERRORS;
	kept->ticket = job->ticket;
	memcpy(kept->message, message, length);
	kept->message[length] = '\0';
	SpinLockRelease(&seckill_my_ring->error_mutex);
	finish(job, error->sqlerrcode);
	ConditionVariableBroadcast(&seckill_my_ring->decided);
}
