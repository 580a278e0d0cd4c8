/*
 * ring.c
 *		The queue of a database: a bounded ring of purchases in shared memory,
 *		which a queue worker decides in batches.
 *
 * This is peak shaving by a message queue inside the database.  Many purchases
 * share one transaction and one WAL flush (group commit), and the answers are
 * published when that transaction has committed.  This file opens rings, makes
 * sure that there is a worker, and puts purchases in.  ring_wait.c is the
 * buyers' side, ring_worker.c the worker's.
 *
 * There is a ring for each database that uses the queue, up to RING_DATABASES.
 * A ticket is a position in the ring, counted up from a random number that is
 * drawn when the ring is opened.  So a ticket from before a restart of the
 * server is not mistaken for a new one, whatever the clock says.  The number
 * is 51 random bits after a 1: a million tickets before a restart and a
 * million after it meet once in 10^9 restarts.  No ticket needs more than 53
 * bits, which a client's floating-point number can represent.
 *
 * A cell holds its ticket and its phase in one atomic word:
 *
 *	READY -> TAKEN -> DECIDED -> (READY, under the ticket one round later)
 *	  |		   |
 *	  |		   +-> READY: the worker has deferred it
 *	  +-> FREE: the buyer has left; can be reused like DECIDED
 *
 * The worker takes a cell when it decides, with the row locked and nothing
 * left to wait for but the commit.  Until then the buyer can leave.
 *
 * Who may change what:
 *
 * - tail: producers, by compare-and-swap, after they have seen that the cell
 *   of the next ticket can be reused: it holds the ticket of one round
 *   earlier, is FREE or DECIDED, and has no waiter.  In any other state of
 *   that cell the ring is full.  The producer that has moved tail owns the
 *   cell until it sets the cell to READY.
 * - READY to TAKEN, TAKEN to READY or DECIDED, and head: the worker.
 *   READY to FREE: the buyer that waits for the cell and leaves, or the
 *   producer of a purchase without a waiter that finds no worker.
 * - waiter: set by the producer, cleared by the buyer when it has read the
 *   answer or leaves.  The worker sets ANSWERED in it and wakes the buyer,
 *   which sleeps on this word.
 * - item_id, user_id, quantity, request_id: the producer, before READY.
 * - order_id, unit, outcome, error: the worker, while the cell is TAKEN.  Until then
 *   they belong to the ticket of one round earlier and may still be read.
 * - dbid, pid, latch and worker: under seckill_rings->lock.  Producers read
 *   worker and latch without it, see seckill_ring_retire() and wake_worker().
 * - sleeping: set by the worker before it sleeps; cleared by the worker, or by
 *   the producer that wakes it.
 * - errors, next_error: under error_mutex.
 *
 * A worker that dies leaves cells TAKEN, and the next worker takes them over.
 * That is right because its transaction did not commit: answers are published
 * in the commit callback, where no interrupt is served.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

#include "base/bgworker.h"
#include "base/compat.h"
#include "base/fault.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/databases.h"
#include "shmem/ring.h"
#include "shmem/ring_private.h"

/* The least first ticket. */
#define FIRST_TICKET		(UINT64CONST(1) << 51)

Rings	   *seckill_rings = NULL;
RingCell   *seckill_ring_cells = NULL;	/* seckill_queue_size for each ring */

/* The ring of the current database, once this backend has used it. */
Ring	   *seckill_my_ring = NULL;


/*
 * Shared memory
 */

static void
request(void)
{
	seckill_shmem_struct("seckill rings", sizeof(Rings), (void **) &seckill_rings);
	seckill_shmem_struct("seckill ring cells",
						 mul_size(mul_size(RING_DATABASES, seckill_queue_size),
								  sizeof(RingCell)),
						 (void **) &seckill_ring_cells);
}

static void
init_ring(Ring *ring)
{
	memset(ring, 0, sizeof(Ring));
	pg_atomic_init_u32(&ring->worker, WORKER_NONE);
	pg_atomic_init_u32(&ring->failures, 0);
	pg_atomic_init_u64(&ring->tail, 0);
	pg_atomic_init_u64(&ring->head, 0);
	pg_atomic_init_u32(&ring->sleeping, 0);
	ConditionVariableInit(&ring->decided);
	SpinLockInit(&ring->error_mutex);
}

static void
init(void)
{
	seckill_rings->lock = seckill_shmem_lock(&seckill_ring_shmem);
	for (int i = 0; i < RING_DATABASES; i++)
		init_ring(&seckill_rings->rings[i]);
}

const SeckillShmem seckill_ring_shmem = {
	.tranche = "seckill_ring",
	.request = request,
	.init = init
};


/*
 * The queue of a database
 */

/* Raise unless there is shared memory, and so a queue. */
void
seckill_ring_check_preloaded(void)
{
	seckill_cache_check_preloaded("queue");
}

/*
 * Return the ring of a database, or NULL; for InvalidOid, a ring that is not
 * in use.  Under seckill_rings->lock.
 */
Ring *
seckill_ring_find(Oid dbid)
{
	int			i = seckill_find_database(&seckill_rings->rings[0].dbid,
										  sizeof(Ring), RING_DATABASES, dbid);

	return i >= 0 ? &seckill_rings->rings[i] : NULL;
}

/*
 * Draw the first ticket of a ring, see above; raises if there are no random
 * numbers.
 */
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

/*
 * Open an unused ring for the current database; NULL if all are in use.  Under
 * seckill_rings->lock, exclusively.
 */
static Ring *
open_ring(uint64 first)
{
	Ring	   *ring = seckill_ring_find(InvalidOid);

	if (ring == NULL)
		return NULL;
	ring->first = first;
	pg_atomic_write_u64(&ring->tail, first);
	pg_atomic_write_u64(&ring->head, first);
	for (uint64 ticket = first - seckill_queue_size; ticket < first; ticket++)
	{
		RingCell   *cell = cell_of(ring, ticket);

		pg_atomic_init_u64(&cell->state, state_of(ticket, CELL_FREE));
		pg_atomic_init_u32(&cell->waiter, 0);
	}
	for (int i = 0; i < RING_ERRORS; i++)
		ring->errors[i].ticket = 0;
	pg_atomic_write_u32(&ring->worker, WORKER_NONE);
	pg_atomic_write_u32(&ring->failures, 0);
	ring->dbid = MyDatabaseId;
	return ring;
}

/*
 * Return the ring of the current database, opening it if there is none and
 * open is true; NULL if there is none then.
 */
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
		seckill_my_ring = open_ring(first);
	LWLockRelease(seckill_rings->lock);
	return seckill_my_ring;
}

/*
 * Return the ring of the current database, opening it if need be; raise if
 * there are too many.
 */
Ring *
seckill_ring_get(void)
{
	if (seckill_ring_of_database(true) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases use the queue"),
				 errdetail("At most %d databases of a server can.",
						   RING_DATABASES),
				 errhint("Use another mode, such as \"cache\".")));
	return seckill_my_ring;
}

/*
 * A database is dropped, so no process can use its ring: close it.  For a
 * commit callback; does not raise.
 */
void
seckill_ring_drop_database(Oid dbid)
{
	Ring	   *ring;

	LWLockAcquire(seckill_rings->lock, LW_EXCLUSIVE);
	ring = seckill_ring_find(dbid);
	if (ring != NULL)
	{
		ring->dbid = InvalidOid;
		ring->pid = 0;
	}
	LWLockRelease(seckill_rings->lock);
}


/*
 * The worker's presence
 */

/*
 * Ask the postmaster for a worker if there is none; false if no background
 * worker is left for it.
 */
bool
seckill_ring_ensure_worker(Ring *ring)
{
	bool		started = true;

	if (pg_atomic_read_u32(&ring->worker) != WORKER_NONE)
		return true;
	LWLockAcquire(seckill_rings->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&ring->worker) == WORKER_NONE)
	{
		started = seckill_bgworker_register("seckill queue worker",
											"seckill_queue_worker_main");
		if (started)
			pg_atomic_write_u32(&ring->worker, WORKER_STARTING);
	}
	LWLockRelease(seckill_rings->lock);
	return started;
}

/* Raise: no background worker is left. */
SECKILL_NORETURN void
seckill_ring_no_worker(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no background worker is left for the queue"),
			 errhint("Raise max_worker_processes, or use another mode.")));
}

/* Make sure that there is a worker, or raise. */
void
seckill_ring_need_worker(Ring *ring)
{
	if (!seckill_ring_ensure_worker(ring))
		seckill_ring_no_worker();
}

/* A cell has become READY: wake the worker if it sleeps. */
static void
wake_worker(Ring *ring)
{
	pg_memory_barrier();
	if (pg_atomic_read_u32(&ring->sleeping) != 0 &&
		pg_atomic_exchange_u32(&ring->sleeping, 0) != 0)
		SetLatch(ring->latch);
}


/*
 * Putting in
 */

/*
 * Move tail past one cell that can be reused; false if the ring is full.
 * Retries if another producer has moved tail since it was read.
 */
static bool
next_ticket(Ring *ring, uint64 *ticket)
{
	*ticket = pg_atomic_read_u64(&ring->tail);
	for (;;)
	{
		RingCell   *cell = cell_of(ring, *ticket);
		uint64		state = pg_atomic_read_u64(&cell->state);
		uint64		tail;

		pg_memory_barrier();
		if (ticket_in(state) == *ticket - seckill_queue_size &&
			is_over(state) && pg_atomic_read_u32(&cell->waiter) == 0)
		{
			if (pg_atomic_compare_exchange_u64(&ring->tail, ticket, *ticket + 1))
				return true;
			continue;
		}
		tail = pg_atomic_read_u64(&ring->tail);
		if (tail == *ticket)
			return false;
		*ticket = tail;
	}
}

/*
 * Put a purchase into the ring.  waiter is the index of the process to wake
 * when the purchase is decided, or -1.  Returns false if the ring is full;
 * does not raise.
 */
bool
seckill_ring_put(Ring *ring, const Purchase *p, int waiter, uint64 *ticket)
{
	RingCell   *cell;

	if (!next_ticket(ring, ticket))
		return false;
	SECKILL_CRASH("cell taken");
	cell = cell_of(ring, *ticket);
	cell->item_id = p->item_id;
	cell->user_id = p->user_id;
	cell->quantity = p->quantity;
	cell->has_request = p->has_request;
	cell->request_id = p->request_id;
	cell->trip = p->trip;
	cell->queued_at = p->rules.split.n > 0 ? seckill_clock() : 0;
	pg_atomic_write_u32(&cell->waiter, (uint32) (waiter + 1));
	pg_write_barrier();
	pg_atomic_write_u64(&cell->state, state_of(*ticket, CELL_READY));
	wake_worker(ring);
	return true;
}


/*
 * Return the number of purchases in the ring that are not decided.  *pid is
 * set to the worker's, or 0 if there is none.
 */
int64
seckill_ring_backlog(int *pid)
{
	Ring	   *ring = seckill_ring_of_database(false);
	int64		backlog = 0;
	uint64		tail;

	*pid = 0;
	if (ring == NULL)
		return 0;
	LWLockAcquire(seckill_rings->lock, LW_SHARED);
	*pid = ring->pid;
	LWLockRelease(seckill_rings->lock);
	tail = pg_atomic_read_u64(&ring->tail);
	for (uint64 t = pg_atomic_read_u64(&ring->head); t < tail; t++)
	{
		uint64		state = pg_atomic_read_u64(&cell_of(ring, t)->state);

		if (ticket_in(state) < t || (ticket_in(state) == t && !is_over(state)))
			backlog++;
	}
	return backlog;
}


/* Return the wait event of an idle worker. */
uint32
seckill_ring_worker_wait_event(void)
{
	static uint32 event = 0;

	return SeckillWaitEvent(&event, "SeckillQueueWorker");
}
