/*
 * ring_private.h
 *		Structures of the queue in shared memory, and steps that the buyers'
 *		side and the worker's side share.
 *
 * For ring.c, ring_wait.c and ring_worker.c only.
 */
#ifndef SECKILL_SHMEM_RING_PRIVATE_H
#define SECKILL_SHMEM_RING_PRIVATE_H

#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/uuid.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/settings.h"
#include "seckill.h"

/* Databases that can use the queue. */
#define RING_DATABASES		8

/* Error messages that a ring keeps. */
#define RING_ERRORS			32

#define PHASE_BITS			2

/* A purchase has committed here, but no standby has confirmed it. */
#define ERRCODE_UNCONFIRMED	ERRCODE_T_R_STATEMENT_COMPLETION_UNKNOWN

/* A bit of waiter: the answer is there. */
#define ANSWERED			0x80000000u

/* See ring.c. */
typedef enum RingPhase
{
	CELL_FREE,
	CELL_READY,
	CELL_TAKEN,
	CELL_DECIDED
} RingPhase;

/* One purchase. */
typedef struct RingCell
{
	pg_atomic_uint64 state;		/* ticket << PHASE_BITS | phase */
	pg_atomic_uint32 waiter;	/* index of the waiting process + 1, or 0 */
	int32		quantity;
	int64		item_id;
	int64		user_id;
	int64		order_id;
	SeckillOutcome outcome;
	int			error;			/* SQLSTATE, or 0 */
	pg_uuid_t	request_id;
	bool		has_request;
	int32		unit;			/* see Purchase */
	SeatTrip	trip;
	ClockTime	queued_at;		/* of a split item, else 0 */
} RingCell;

/* The error of a purchase; the oldest is overwritten. */
typedef struct RingError
{
	uint64		ticket;
	char		message[256];
} RingError;

/* Is there a worker? */
typedef enum RingWorker
{
	WORKER_NONE,
	WORKER_STARTING,			/* the postmaster has been asked for one */
	WORKER_RUNNING
} RingWorker;

typedef struct Ring
{
	Oid			dbid;			/* InvalidOid: not in use */
	pg_atomic_uint32 worker;	/* a RingWorker */
	int			pid;			/* of the running worker */
	Latch	   *latch;			/* of the running worker, or of the last one */
	pg_atomic_uint32 failures;	/* starts of a worker since one succeeded */
	uint64		first;			/* the first ticket, see ring.c */
	ConditionVariable decided;	/* broadcast after each batch */
	slock_t		error_mutex;
	int			next_error;
	RingError	errors[RING_ERRORS];

	/* written often, each on a cache line of its own */
	char		pad0[PG_CACHE_LINE_SIZE];
	pg_atomic_uint64 tail;		/* next ticket */
	char		pad1[PG_CACHE_LINE_SIZE];
	pg_atomic_uint64 head;		/* all before it are decided or left */
	char		pad2[PG_CACHE_LINE_SIZE];
	pg_atomic_uint32 sleeping;	/* must the worker be woken? */
	char		pad3[PG_CACHE_LINE_SIZE];
} Ring;

typedef struct Rings
{
	LWLock	   *lock;
	Ring		rings[RING_DATABASES];
} Rings;

/* in shared memory; NULL without preload */
extern Rings *seckill_rings;
extern RingCell *seckill_ring_cells;	/* seckill.queue_size for each ring */

/* the ring of the current database, once this backend has used it */
extern Ring *seckill_my_ring;

/* ring.c */
extern Ring *seckill_ring_find(Oid dbid);
extern Ring *seckill_ring_of_database(bool open);
extern Ring *seckill_ring_get(void);
extern bool seckill_ring_ensure_worker(Ring *ring);
SECKILL_NORETURN extern void seckill_ring_no_worker(void);
extern void seckill_ring_need_worker(Ring *ring);
extern bool seckill_ring_put(Ring *ring, const Purchase *p, int waiter,
							 uint64 *ticket);

/*
 * The cell of a ticket; tickets that differ by seckill.queue_size share one.
 */
static inline RingCell *
cell_of(Ring *ring, uint64 ticket)
{
	return &seckill_ring_cells[(ring - seckill_rings->rings) * seckill_queue_size +
							   ticket % seckill_queue_size];
}

/* The state of a cell that has this ticket and phase. */
static inline uint64
state_of(uint64 ticket, RingPhase phase)
{
	return ticket << PHASE_BITS | phase;
}

static inline RingPhase
phase_in(uint64 state)
{
	return (RingPhase) (state & ((1 << PHASE_BITS) - 1));
}

static inline uint64
ticket_in(uint64 state)
{
	return state >> PHASE_BITS;
}

/* Has the purchase been decided, or has its buyer left? */
static inline bool
is_over(uint64 state)
{
	return phase_in(state) == CELL_FREE || phase_in(state) == CELL_DECIDED;
}

/*
 * Move the cell from one phase to another, if it has this ticket and is in the
 * first; returns whether it was.
 */
static inline bool
move_cell(RingCell *cell, uint64 ticket, RingPhase from, RingPhase to)
{
	uint64		expected = state_of(ticket, from);

	return pg_atomic_compare_exchange_u64(&cell->state, &expected,
										  state_of(ticket, to));
}

#endif							/* SECKILL_SHMEM_RING_PRIVATE_H */
