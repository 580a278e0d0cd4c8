/*
 * queue.c
 *		The queue: a bounded ring of purchases in shared memory, which a
 *		background worker decides in batches (worker.c).
 *
 * This is peak-shaving by a message queue, with the queue inside the database:
 * many purchases share one transaction and one flush (group commit), and the
 * answer is published when that transaction has committed.
 *
 * There is one ring per database that uses the queue, of QUEUE_DATABASES
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
 *   seckill_queue_release().
 *
 * A worker that dies leaves its cells TAKEN and the next one takes them again.
 * That is right, as its transaction did not commit: answers are published in
 * the commit callback, where no interrupt is served.
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/wait_event.h"

#include "base/futex.h"
#include "seckill.h"

PG_FUNCTION_INFO_V1(seckill_result);

#define QUEUE_DATABASES		8
#define QUEUE_ERRORS		32
#define PHASE_BITS			2
#define NOBODY				(-1)

/* The least first ticket, and a number above all tickets. */
#define FIRST_TICKET		(UINT64CONST(1) << 51)
#define END_OF_TICKETS		(UINT64CONST(1) << 53)

/* The error of a purchase that has committed here and maybe nowhere else. */
#define ERRCODE_UNCONFIRMED	ERRCODE_T_R_STATEMENT_COMPLETION_UNKNOWN

/* A bit of waiter: the answer is there. */
#define ANSWERED			0x80000000u

typedef enum QueuePhase
{
	QUEUE_FREE,
	QUEUE_READY,
	QUEUE_TAKEN,
	QUEUE_DECIDED
} QueuePhase;

/* One purchase. */
typedef struct QueueCell
{
	pg_atomic_uint64 state;		/* ticket << PHASE_BITS | phase */
	pg_atomic_uint32 waiter;	/* who waits, counted from 1, or 0 */
	int32		quantity;
	int64		item_id;
	int64		user_id;
	int64		order_id;
	SeckillOutcome outcome;
	int			error;			/* SQLSTATE, or 0 */
	pg_uuid_t	request;
	bool		has_request;
} QueueCell;

/* What went wrong with a purchase, kept until others fail. */
typedef struct QueueError
{
	uint64		ticket;
	char		message[256];
} QueueError;

typedef enum QueueWorker
{
	WORKER_NONE,
	WORKER_STARTING,			/* the postmaster has been asked for one */
	WORKER_RUNNING
} QueueWorker;

typedef struct Queue
{
	Oid			dbid;			/* InvalidOid: not in use */
	pg_atomic_uint32 worker;	/* a QueueWorker */
	int			pid;			/* of the running worker */
	Latch	   *latch;			/* its, or that of the last one */
	pg_atomic_uint32 failures;	/* starts of a worker since one succeeded */
	uint64		first;			/* tickets before this are of another life */
	ConditionVariable decided;	/* for those who ask for a ticket */
	slock_t		error_mutex;
	int			next_error;
	QueueError	errors[QUEUE_ERRORS];

	/* written all the time, each on a cache line of its own */
	char		pad0[PG_CACHE_LINE_SIZE];
	pg_atomic_uint64 tail;		/* next ticket to give out */
	char		pad1[PG_CACHE_LINE_SIZE];
	pg_atomic_uint64 head;		/* all before it are decided */
	char		pad2[PG_CACHE_LINE_SIZE];
	pg_atomic_uint32 sleeping;	/* is the worker to be woken? */
	char		pad3[PG_CACHE_LINE_SIZE];
} Queue;

typedef struct Queues
{
	LWLock	   *lock;
	Queue		queue[QUEUE_DATABASES];
} Queues;

static Queues *queues = NULL;
static QueueCell *cells = NULL; /* seckill_queue_size for each queue */

/* The queue of my database, once I have used it. */
static Queue *my_queue = NULL;

/* The ticket that I wait for; 0 is none. */
static uint64 my_ticket = 0;

static uint32 decision_event = 0;
static uint32 result_event = 0;


/*
 * Shared memory
 */

static void
request(void)
{
	seckill_shmem_struct("seckill queues", sizeof(Queues), (void **) &queues);
	seckill_shmem_struct("seckill queue cells",
						 mul_size(mul_size(QUEUE_DATABASES, seckill_queue_size),
								  sizeof(QueueCell)),
						 (void **) &cells);
}

static void
init_queue(Queue *q)
{
	memset(q, 0, sizeof(Queue));
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
	queues->lock = seckill_shmem_lock(&seckill_queue_shmem);
	for (int i = 0; i < QUEUE_DATABASES; i++)
		init_queue(&queues->queue[i]);
}

const SeckillShmem seckill_queue_shmem = {"seckill_queue", request, init};


/*
 * Cells
 */

static inline QueueCell *
cell_of(Queue *q, uint64 ticket)
{
	return &cells[(q - queues->queue) * seckill_queue_size +
				  ticket % seckill_queue_size];
}

static inline uint64
state_of(uint64 ticket, QueuePhase phase)
{
	return ticket << PHASE_BITS | phase;
}

static inline QueuePhase
phase_in(uint64 state)
{
	return (QueuePhase) (state & ((1 << PHASE_BITS) - 1));
}

static inline uint64
ticket_in(uint64 state)
{
	return state >> PHASE_BITS;
}

static inline bool
is_over(uint64 state)
{
	return phase_in(state) == QUEUE_FREE || phase_in(state) == QUEUE_DECIDED;
}

/* Move the cell of ticket from one phase to another, if it is in the first. */
static bool
move_cell(QueueCell *cell, uint64 ticket, QueuePhase from, QueuePhase to)
{
	uint64		expected = state_of(ticket, from);

	return pg_atomic_compare_exchange_u64(&cell->state, &expected,
										  state_of(ticket, to));
}


/*
 * The queue of a database
 */

/* Under queues->lock. */
static Queue *
find_queue(Oid dbid)
{
	for (int i = 0; i < QUEUE_DATABASES; i++)
		if (queues->queue[i].dbid == dbid)
			return &queues->queue[i];
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

/* Under queues->lock: take an unused queue into use for my database. */
static Queue *
open_queue(uint64 first)
{
	Queue	   *q = find_queue(InvalidOid);

	if (q == NULL)
		return NULL;
	q->first = first;
	pg_atomic_write_u64(&q->tail, first);
	pg_atomic_write_u64(&q->head, first);
	for (uint64 ticket = first - seckill_queue_size; ticket < first; ticket++)
	{
		QueueCell  *cell = cell_of(q, ticket);

		pg_atomic_init_u64(&cell->state, state_of(ticket, QUEUE_FREE));
		pg_atomic_init_u32(&cell->waiter, 0);
	}
	for (int i = 0; i < QUEUE_ERRORS; i++)
		q->errors[i].ticket = 0;
	pg_atomic_write_u32(&q->worker, WORKER_NONE);
	pg_atomic_write_u32(&q->failures, 0);
	q->dbid = MyDatabaseId;
	return q;
}

/* The queue of my database, if there is one or is to be one; else NULL. */
static Queue *
look_for_queue(bool open)
{
	uint64		first;

	if (my_queue != NULL)
		return my_queue;
	first = draw_first_ticket();
	LWLockAcquire(queues->lock, LW_EXCLUSIVE);
	my_queue = find_queue(MyDatabaseId);
	if (my_queue == NULL && open)
		my_queue = open_queue(first);
	LWLockRelease(queues->lock);
	return my_queue;
}

/* The queue of my database, which is taken into use if need be. */
static Queue *
get_queue(void)
{
	if (look_for_queue(true) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases use the queue"),
				 errdetail("There are queues for %d databases of a server.",
						   QUEUE_DATABASES),
				 errhint("Use another mode, such as \"cache\".")));
	return my_queue;
}

/*
 * The database is dropped: nobody is left who could use its queue.  Called in
 * a commit callback; raises nothing.
 */
void
seckill_queue_drop_database(Oid dbid)
{
	Queue	   *q;

	LWLockAcquire(queues->lock, LW_EXCLUSIVE);
	q = find_queue(dbid);
	if (q != NULL)
	{
		q->dbid = InvalidOid;
		q->pid = 0;
	}
	LWLockRelease(queues->lock);
}


/*
 * The worker's presence
 */

/* Ask for a worker if there is none; false if there is no place for it. */
static bool
ensure_worker(Queue *q)
{
	bool		started = true;

	if (pg_atomic_read_u32(&q->worker) != WORKER_NONE)
		return true;
	LWLockAcquire(queues->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&q->worker) == WORKER_NONE)
	{
		started = seckill_worker_register();
		if (started)
			pg_atomic_write_u32(&q->worker, WORKER_STARTING);
	}
	LWLockRelease(queues->lock);
	return started;
}

SECKILL_NORETURN static void
no_worker(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no background worker is left for the queue"),
			 errhint("Raise max_worker_processes, or use another mode.")));
}

/* See to it that there is a worker, or raise. */
static void
need_worker(Queue *q)
{
	if (!ensure_worker(q))
		no_worker();
}

/* Tell the worker of a cell that has become READY. */
static void
wake_worker(Queue *q)
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
next_ticket(Queue *q, uint64 *ticket)
{
	*ticket = pg_atomic_read_u64(&q->tail);
	for (;;)
	{
		QueueCell  *cell = cell_of(q, *ticket);
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
static bool
put(Queue *q, const Purchase *p, int waiter, uint64 *ticket)
{
	QueueCell  *cell;

	if (!next_ticket(q, ticket))
		return false;
	SECKILL_CRASH("cell taken");
	cell = cell_of(q, *ticket);
	cell->item_id = p->item_id;
	cell->user_id = p->user_id;
	cell->quantity = p->quantity;
	cell->has_request = p->has_request;
	cell->request = p->request;
	pg_atomic_write_u32(&cell->waiter, (uint32) (waiter + 1));
	pg_write_barrier();
	pg_atomic_write_u64(&cell->state, state_of(*ticket, QUEUE_READY));
	wake_worker(q);
	return true;
}


/*
 * Answers
 */

static void
read_message(Queue *q, uint64 ticket, char *message, Size size)
{
	strlcpy(message, "purchase could not be decided", size);
	SpinLockAcquire(&q->error_mutex);
	for (int i = 0; i < QUEUE_ERRORS; i++)
		if (q->errors[i].ticket == ticket)
			memcpy(message, q->errors[i].message, size);
	SpinLockRelease(&q->error_mutex);
}

SECKILL_NORETURN static void
raise_answer(Queue *q, uint64 ticket, int sqlstate)
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
is_decided(QueueCell *cell, uint64 ticket)
{
	return pg_atomic_read_u64(&cell->state) ==
		state_of(ticket, QUEUE_DECIDED);
}

/*
 * Sleep until the worker has decided my ticket.  A worker that dies is started
 * again by the postmaster, and one that retires looks at the ring once more.
 * ANSWERED alone proves nothing: it may be meant for a purchase of mine that I
 * have left, one round earlier.
 */
static void
await_decision(Queue *q, QueueCell *cell)
{
	uint32		waiter;

	need_worker(q);				/* it may just have retired */
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
seckill_queue_buy(Purchase *p)
{
	Queue	   *q = get_queue();
	QueueCell  *cell;
	uint64		ticket;
	SeckillOutcome outcome;
	int			error;

	need_worker(q);
	if (!put(q, p, SeckillMyProcIndex(), &ticket))
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
seckill_queue_submit(const Purchase *p, uint64 *ticket)
{
	Queue	   *q = get_queue();

	need_worker(q);
	if (!put(q, p, NOBODY, ticket))
		return SECKILL_BUSY;
	SECKILL_FAULT("purchase submitted");
	/* it may just have retired */
	if (!ensure_worker(q) &&
		move_cell(cell_of(q, *ticket), *ticket, QUEUE_READY, QUEUE_FREE))
		no_worker();
	return SECKILL_QUEUED;
}

/*
 * The transaction of a buyer who waits is aborted: take his purchase out, or
 * say that it is too late.  Called in the abort callback.
 */
void
seckill_queue_abandon(void)
{
	uint64		ticket = my_ticket;
	QueueCell  *cell;

	if (ticket == 0)
		return;
	my_ticket = 0;
	cell = cell_of(my_queue, ticket);
	if (move_cell(cell, ticket, QUEUE_READY, QUEUE_FREE))
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
look_up(Queue *q, uint64 ticket, int64 *order_id)
{
	QueueCell  *cell = cell_of(q, ticket);
	uint64		state = pg_atomic_read_u64(&cell->state);
	SeckillOutcome outcome;
	int			error;

	if (ticket_in(state) > ticket)
		forgotten(ticket);
	if (state != state_of(ticket, QUEUE_DECIDED) &&
		state != state_of(ticket, QUEUE_FREE))
		return SECKILL_QUEUED;
	pg_read_barrier();
	outcome = cell->outcome;
	*order_id = cell->order_id;
	error = cell->error;
	pg_memory_barrier();
	if (pg_atomic_read_u64(&cell->state) != state)
		forgotten(ticket);
	if (phase_in(state) == QUEUE_FREE)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("purchase of ticket " UINT64_FORMAT " was cancelled",
						ticket)));
	if (error != 0)
		raise_answer(q, ticket, error);
	return outcome;
}

/* Sleep until the next batch, or the end of patience: then false. */
static bool
await_batch(Queue *q, ClockTime until)
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
check_ticket(Queue *q, int64 number)
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
seckill_queue_result(int64 number, ClockTime until, int64 *order_id)
{
	Queue	   *q = look_for_queue(false);
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
	seckill_check_queue();
	if (!PG_ARGISNULL(1))
		until = seckill_clock() +
			seckill_microseconds(PG_GETARG_INTERVAL_P(1));
	outcome = seckill_queue_result(PG_GETARG_INT64(0), until, &order_id);
	if (outcome == SECKILL_REQUEST_REUSED)
		seckill_request_reused();
	return seckill_catalog_result(fcinfo, outcome, outcome == SECKILL_SOLD,
								  order_id);
}


/*
 * How many purchases are in the ring and not decided; *pid is the worker's, 0
 * if there is none.
 */
int64
seckill_queue_backlog(int *pid)
{
	Queue	   *q = look_for_queue(false);
	int64		backlog = 0;
	uint64		tail;

	*pid = 0;
	if (q == NULL)
		return 0;
	LWLockAcquire(queues->lock, LW_SHARED);
	*pid = q->pid;
	LWLockRelease(queues->lock);
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
 * The worker's side
 */

/*
 * Become the worker of the database's queue; false if it has one, or no
 * queue.  failures is how often others have failed to start before.
 */
bool
seckill_queue_claim(Oid dbid, uint32 *failures)
{
	Queue	   *q;
	bool		claimed;

	LWLockAcquire(queues->lock, LW_EXCLUSIVE);
	q = find_queue(dbid);
	claimed = q != NULL && pg_atomic_read_u32(&q->worker) != WORKER_RUNNING;
	if (claimed)
	{
		q->pid = MyProcPid;
		q->latch = MyLatch;
		pg_atomic_write_u32(&q->sleeping, 0);
		pg_atomic_write_u32(&q->worker, WORKER_RUNNING);
		my_queue = q;
		*failures = pg_atomic_fetch_add_u32(&q->failures, 1);
	}
	LWLockRelease(queues->lock);
	return claimed;
}

/* The worker has started well. */
void
seckill_queue_started(void)
{
	pg_atomic_write_u32(&my_queue->failures, 0);
}

/*
 * The worker ends: for good, or to be started again by the postmaster.  If the
 * database was dropped meanwhile, the queue may be that of another by now.
 */
void
seckill_queue_release(bool restart)
{
	LWLockAcquire(queues->lock, LW_EXCLUSIVE);
	if (my_queue->pid == MyProcPid)
	{
		my_queue->pid = 0;
		pg_atomic_write_u32(&my_queue->sleeping, 0);
		pg_atomic_write_u32(&my_queue->worker,
							restart ? WORKER_STARTING : WORKER_NONE);
	}
	LWLockRelease(queues->lock);
}

/* Move head past all that is decided. */
static uint64
advance_head(Queue *q)
{
	uint64		head = pg_atomic_read_u64(&q->head);
	uint64		tail = pg_atomic_read_u64(&q->tail);

	while (head < tail)
	{
		uint64		state = pg_atomic_read_u64(&cell_of(q, head)->state);

		if (ticket_in(state) < head ||
			(ticket_in(state) == head && !is_over(state)))
			break;
		head++;
	}
	pg_atomic_write_u64(&q->head, head);
	return head;
}

/* Is there a purchase to decide?  One that is still being put in will tell. */
static bool
has_work(Queue *q)
{
	uint64		head = advance_head(q);

	return ticket_in(pg_atomic_read_u64(&cell_of(q, head)->state)) == head;
}

/*
 * The idle worker wants to end: only if no purchase has come in meanwhile.  A
 * producer looks for a worker after his cell is READY, so either he finds none
 * or we find his cell.
 */
bool
seckill_queue_retire(void)
{
	seckill_queue_release(false);
	pg_memory_barrier();
	if (!has_work(my_queue))
		return true;
	LWLockAcquire(queues->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&my_queue->worker) == WORKER_RUNNING)
	{
		LWLockRelease(queues->lock);
		return true;
	}
	my_queue->pid = MyProcPid;
	pg_atomic_write_u32(&my_queue->worker, WORKER_RUNNING);
	LWLockRelease(queues->lock);
	return false;
}

/* Sleep until a producer wakes me; false if none has for so long. */
static bool
await_producer(int timeout_ms)
{
	int			events = WaitLatch(MyLatch,
								   WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
								   timeout_ms, seckill_worker_wait_event());

	ResetLatch(MyLatch);
	return (events & WL_LATCH_SET) != 0;
}

/* Sleep until there is a purchase; false if there was none for so long. */
bool
seckill_queue_sleep(int timeout_ms)
{
	bool		woken = true;

	pg_atomic_write_u32(&my_queue->sleeping, 1);
	pg_memory_barrier();
	if (!has_work(my_queue))
		woken = await_producer(timeout_ms);
	pg_atomic_write_u32(&my_queue->sleeping, 0);
	return woken;
}

/* Sleep for so long, or until there is a ticket beyond those seen. */
void
seckill_queue_nap(uint64 seen, int timeout_ms)
{
	pg_atomic_write_u32(&my_queue->sleeping, 1);
	pg_memory_barrier();
	if (pg_atomic_read_u64(&my_queue->tail) == seen)
		(void) await_producer(timeout_ms);
	pg_atomic_write_u32(&my_queue->sleeping, 0);
}

/* All that is in the ring now. */
QueueRange
seckill_queue_range(void)
{
	QueueRange	range;

	range.next = advance_head(my_queue);
	range.end = pg_atomic_read_u64(&my_queue->tail);
	return range;
}

/*
 * Read purchases of the range, in ticket order, up to max of them, of the
 * items that are accepted.  A cell that its producer has not finished yet
 * ends the range: no later ticket may overtake it.  A buyer who leaves
 * meanwhile leaves nonsense behind, which cannot be taken.
 */
int
seckill_queue_read(QueueRange *range, Purchase *jobs, int max,
				   QueueFilter accept, const void *arg)
{
	int			n = 0;

	while (range->next < range->end && n < max)
	{
		uint64		ticket = range->next++;
		QueueCell  *cell = cell_of(my_queue, ticket);
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
		jobs[n].request = cell->request;
		jobs[n].mode = SECKILL_MODE_QUEUE;
		jobs[n].outcome = SECKILL_QUEUED;
		n++;
	}
	return n;
}

/* It is decided now: false if the buyer has left. */
bool
seckill_queue_take(const Purchase *job)
{
	QueueCell  *cell = cell_of(my_queue, job->ticket);

	return move_cell(cell, job->ticket, QUEUE_READY, QUEUE_TAKEN) ||
		pg_atomic_read_u64(&cell->state) == state_of(job->ticket, QUEUE_TAKEN);
}

/* Does somebody wait for the decision? */
bool
seckill_queue_awaited(const Purchase *job)
{
	return pg_atomic_read_u32(&cell_of(my_queue, job->ticket)->waiter) != 0;
}

/* Not decided now: the buyer may leave again. */
void
seckill_queue_put_back(const Purchase *job)
{
	QueueCell  *cell = cell_of(my_queue, job->ticket);

	(void) move_cell(cell, job->ticket, QUEUE_TAKEN, QUEUE_READY);
}

static void
finish(const Purchase *job, int error)
{
	QueueCell  *cell = cell_of(my_queue, job->ticket);
	uint32		waiter;

	SECKILL_CRASH("decision committed");
	cell->outcome = job->outcome;
	cell->order_id = job->order_id;
	cell->error = error;
	/* a full barrier, so that the waiter is read after */
	(void) pg_atomic_exchange_u64(&cell->state,
								  state_of(job->ticket, QUEUE_DECIDED));
	waiter = pg_atomic_read_u32(&cell->waiter);
	if (waiter != 0 &&
		pg_atomic_compare_exchange_u32(&cell->waiter, &waiter,
									   waiter | ANSWERED))
		seckill_futex_wake(&cell->waiter, (waiter & ~ANSWERED) - 1);
}

/*
 * The transaction that decided these has committed: tell the buyers, those
 * who are left undecided excepted.  If a synchronous standby has not confirmed
 * it, nobody is told that he has bought, nor that he has not.  Raises nothing.
 */
void
seckill_queue_publish(const Purchase *jobs, int n, bool confirmed)
{
	for (int i = 0; i < n; i++)
		if (jobs[i].outcome != SECKILL_QUEUED)
			finish(&jobs[i], confirmed || jobs[i].outcome != SECKILL_SOLD ?
				   0 : ERRCODE_UNCONFIRMED);
	SECKILL_CRASH("decisions published");
	ConditionVariableBroadcast(&my_queue->decided);
}

/* The purchase cannot be decided: hand the error to its buyer. */
void
seckill_queue_fail(const Purchase *job, const ErrorData *error)
{
	QueueError *kept;
	const char *message = seckill_process_message(error);
	int			length = pg_mbcliplen(message, strlen(message),
									  sizeof(kept->message) - 1);

	SpinLockAcquire(&my_queue->error_mutex);
	kept = &my_queue->errors[my_queue->next_error];
	my_queue->next_error = (my_queue->next_error + 1) % QUEUE_ERRORS;
	kept->ticket = job->ticket;
	memcpy(kept->message, message, length);
	kept->message[length] = '\0';
	SpinLockRelease(&my_queue->error_mutex);
	finish(job, error->sqlerrcode);
	ConditionVariableBroadcast(&my_queue->decided);
}
