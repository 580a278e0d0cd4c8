/*
 * queue.c
 *		The queue: a bounded ring of purchases in shared memory, which a
 *		background worker decides in batches (worker.c).
 *
 * This is peak-shaving by a message queue, with the queue inside the database:
 * many purchases share one transaction and one flush (group commit), and the
 * answer is published when that transaction has committed.
 *
 * There is one ring per database that uses the queue, of RING_DATABASES
 * there can be.  A ticket is a position in the ring, counted on from a random
 * number when the ring is taken into use, so that a ticket of another life of
 * the server is not mistaken for one of this, whatever the clock says.  That
 * number is 51 random bits after a 1: a million tickets in either life meet
 * once in 10^9 lives.  No ticket needs more than 53 bits, which a client's
 * floating-point number can hold.
 *
 * A cell holds its ticket and its phase in one atomic word:
 *
 *	READY -> TAKEN -> DECIDED -> (READY, under the ticket one round later)
 *	  |		   |
 *	  |		   +-> READY: the worker has put it off
 *	  +-> FREE: the buyer has left; like DECIDED
 *
 * The worker takes a cell when it decides, with the row locked and no wait
 * ahead but that for the commit: until then the buyer can leave.
 *
 * Who may change what:
 *
 * - tail: producers, by compare-and-swap, after they saw that the cell of the
 *   next ticket can be used: it holds the ticket one round earlier, FREE or
 *   DECIDED, with nobody waiting for it.  Any other cell means that the ring
 *   is full.  Who moved tail owns the cell, until it says READY.
 * - READY to TAKEN, TAKEN to READY or DECIDED, and head: the worker.
 *   READY to FREE: the buyer who waits for it.
 * - waiter: set by the producer, cleared by the buyer when he has read the
 *   answer or leaves.  The worker adds ANSWERED to it and wakes him; it is the
 *   word that he sleeps on.
 * - item_id, user_id, quantity, request: the producer, before READY.
 * - order_id, outcome, error: the worker, while the cell is TAKEN.  Until then
 *	 they are those of the ticket one round earlier, which may be read still.
 * - dbid, worker, pid: under queues->lock.  Producers read worker without it, see
 *   seckill_ring_release().
 *
 * A worker that dies leaves its cells TAKEN and the next one takes them again.
 * That is right, as its transaction did not commit: answers are published in
 * the commit callback, where no interrupt is served.
 */
#include "postgres.h"

#include <signal.h>

#include "lib/qunique.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/memutils.h"

#include "base/bgworker.h"
#include "base/compat.h"
#include "base/fault.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "seckill.h"
#include "shmem/ring.h"
#include "shmem/ring_private.h"

/* The least first ticket, and a number above all tickets. */
#define FIRST_TICKET		(UINT64CONST(1) << 51)

Rings	   *seckill_rings = NULL;
RingCell   *seckill_ring_cells = NULL;	/* seckill_queue_size for each queue */

/* The queue of my database, once I have used it. */
Ring	   *seckill_my_ring = NULL;


/*
 * Shared memory
 */

static void
request(void)
{
	seckill_shmem_struct("seckill seckill_rings", sizeof(Rings), (void **) &seckill_rings);
	seckill_shmem_struct("seckill queue seckill_ring_cells",
						 mul_size(mul_size(RING_DATABASES, seckill_queue_size),
								  sizeof(RingCell)),
						 (void **) &seckill_ring_cells);
}

static void
init_queue(Ring *q)
{
	memset(q, 0, sizeof(Ring));
	pg_atomic_init_u32(&q->worker, WORKER_NONE);
	pg_atomic_init_u32(&q->failures, 0);
	pg_atomic_init_u64(&q->tail, 0);
	pg_atomic_init_u64(&q->head, 0);
	pg_atomic_init_u32(&q->sleeping, 0);
	ConditionVariableInit(&q->decided);
	SpinLockInit(&q->error_mutex);
}

static void
init(void)
{
	seckill_rings->lock = seckill_shmem_lock(&seckill_ring_shmem);
	for (int i = 0; i < RING_DATABASES; i++)
		init_queue(&seckill_rings->queue[i]);
}

const SeckillShmem seckill_ring_shmem = {"seckill_queue", request, init};


/*
 * The queue of a database
 */

/* Under seckill_rings->lock. */
Ring *
seckill_ring_find(Oid dbid)
{
	for (int i = 0; i < RING_DATABASES; i++)
		if (seckill_rings->queue[i].dbid == dbid)
			return &seckill_rings->queue[i];
	return NULL;
}

/* The first ticket of a queue, see above. */
static uint64
draw_first_ticket(void)
{
	uint64		random;

	if (!pg_strong_random(&random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random first ticket")));
	return FIRST_TICKET | (random & (FIRST_TICKET - 1));
}

/* Under seckill_rings->lock: take an unused queue into use for my database. */
static Ring *
open_queue(uint64 first)
{
	Ring	   *q = seckill_ring_find(InvalidOid);

	if (q == NULL)
		return NULL;
	q->first = first;
	pg_atomic_write_u64(&q->tail, first);
	pg_atomic_write_u64(&q->head, first);
	for (uint64 ticket = first - seckill_queue_size; ticket < first; ticket++)
	{
		RingCell   *cell = cell_of(q, ticket);

		pg_atomic_init_u64(&cell->state, state_of(ticket, CELL_FREE));
		pg_atomic_init_u32(&cell->waiter, 0);
	}
	for (int i = 0; i < RING_ERRORS; i++)
		q->errors[i].ticket = 0;
	pg_atomic_write_u32(&q->worker, WORKER_NONE);
	pg_atomic_write_u32(&q->failures, 0);
	q->dbid = MyDatabaseId;
	return q;
}

/* The queue of my database, if there is one or is to be one; else NULL. */
Ring *
seckill_ring_of_database(bool open)
{
	uint64		first;

	if (seckill_my_ring != NULL)
		return seckill_my_ring;
	first = draw_first_ticket();
	LWLockAcquire(seckill_rings->lock, LW_EXCLUSIVE);
	seckill_my_ring = seckill_ring_find(MyDatabaseId);
	if (seckill_my_ring == NULL && open)
		seckill_my_ring = open_queue(first);
	LWLockRelease(seckill_rings->lock);
	return seckill_my_ring;
}

/* The queue of my database, which is taken into use if need be. */
Ring *
seckill_ring_get(void)
{
	if (seckill_ring_of_database(true) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases use the queue"),
				 errdetail("There are seckill_rings for %d databases of a server.",
						   RING_DATABASES),
				 errhint("Use another mode, such as \"cache\".")));
	return seckill_my_ring;
}

/*
 * The database is dropped: nobody is left who could use its queue.  Called in
 * a commit callback; raises nothing.
 */
void
seckill_ring_drop_database(Oid dbid)
{
	Ring	   *q;

	LWLockAcquire(seckill_rings->lock, LW_EXCLUSIVE);
	q = seckill_ring_find(dbid);
	if (q != NULL)
	{
		q->dbid = InvalidOid;
		q->pid = 0;
	}
	LWLockRelease(seckill_rings->lock);
}


/*
 * The worker's presence
 */

/* Ask for a worker if there is none; false if there is no place for it. */
bool
seckill_ring_ensure_worker(Ring *q)
{
	bool		started = true;

	if (pg_atomic_read_u32(&q->worker) != WORKER_NONE)
		return true;
	LWLockAcquire(seckill_rings->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&q->worker) == WORKER_NONE)
	{
		started = seckill_queue_worker_register();
		if (started)
			pg_atomic_write_u32(&q->worker, WORKER_STARTING);
	}
	LWLockRelease(seckill_rings->lock);
	return started;
}

SECKILL_NORETURN void
seckill_ring_no_worker(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no background worker is left for the queue"),
			 errhint("Raise max_worker_processes, or use another mode.")));
}

/* See to it that there is a worker, or raise. */
void
seckill_ring_need_worker(Ring *q)
{
	if (!seckill_ring_ensure_worker(q))
		seckill_ring_no_worker();
}

/* Tell the worker of a cell that has become READY. */
static void
wake_worker(Ring *q)
{
	pg_memory_barrier();
	if (pg_atomic_read_u32(&q->sleeping) != 0 &&
		pg_atomic_exchange_u32(&q->sleeping, 0) != 0)
		SetLatch(q->latch);
}


/*
 * Putting in
 */

/*
 * Move tail past one cell that can be used; false if the ring is full.  A
 * producer who read tail before others moved it looks again.
 */
static bool
next_ticket(Ring *q, uint64 *ticket)
{
	*ticket = pg_atomic_read_u64(&q->tail);
	for (;;)
	{
		RingCell   *cell = cell_of(q, *ticket);
		uint64		state = pg_atomic_read_u64(&cell->state);
		uint64		tail;

		pg_memory_barrier();
		if (ticket_in(state) == *ticket - seckill_queue_size &&
			is_over(state) && pg_atomic_read_u32(&cell->waiter) == 0)
		{
			if (pg_atomic_compare_exchange_u64(&q->tail, ticket, *ticket + 1))
				return true;
			continue;
		}
		tail = pg_atomic_read_u64(&q->tail);
		if (tail == *ticket)
			return false;
		*ticket = tail;
	}
}

/*
 * Put a purchase into the ring.  waiter is the process to wake when it is
 * decided, or NOBODY.  False if the ring is full.
 */
bool
seckill_ring_put(Ring *q, const Purchase *p, int waiter, uint64 *ticket)
{
	RingCell   *cell;

	if (!next_ticket(q, ticket))
		return false;
	SECKILL_CRASH("cell taken");
	cell = cell_of(q, *ticket);
	cell->item_id = p->item_id;
	cell->user_id = p->user_id;
	cell->quantity = p->quantity;
	cell->has_request = p->has_request;
	cell->request_id = p->request_id;
	pg_atomic_write_u32(&cell->waiter, (uint32) (waiter + 1));
	pg_write_barrier();
	pg_atomic_write_u64(&cell->state, state_of(*ticket, CELL_READY));
	wake_worker(q);
	return true;
}


/*
 * By ticket
 */

/*
 * How many purchases are in the ring and not decided; *pid is the worker's, 0
 * if there is none.
 */
int64
seckill_ring_backlog(int *pid)
{
	Ring	   *q = seckill_ring_of_database(false);
	int64		backlog = 0;
	uint64		tail;

	*pid = 0;
	if (q == NULL)
		return 0;
	LWLockAcquire(seckill_rings->lock, LW_SHARED);
	*pid = q->pid;
	LWLockRelease(seckill_rings->lock);
	tail = pg_atomic_read_u64(&q->tail);
	for (uint64 t = pg_atomic_read_u64(&q->head); t < tail; t++)
	{
		uint64		state = pg_atomic_read_u64(&cell_of(q, t)->state);

		if (ticket_in(state) < t || (ticket_in(state) == t && !is_over(state)))
			backlog++;
	}
	return backlog;
}


/*
 * Starting and ending
 */

/* What the worker waits for when it has nothing to do. */
uint32
seckill_queue_worker_wait_event(void)
{
	static uint32 event = 0;

	return SeckillWaitEvent(&event, "SeckillQueueWorker");
}
