/*
 * ring_private.h
 *		TODO
 */
#ifndef SECKILL_SHMEM_RING_PRIVATE_H
#define SECKILL_SHMEM_RING_PRIVATE_H

#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/uuid.h"

#include "base/settings.h"
#include "seckill.h"

#define RING_DATABASES		8

#define RING_ERRORS		32

#define PHASE_BITS			2

/* The error of a purchase that has committed here and maybe nowhere else. */
#define ERRCODE_UNCONFIRMED	ERRCODE_T_R_STATEMENT_COMPLETION_UNKNOWN

/* A bit of waiter: the answer is there. */
#define ANSWERED			0x80000000u

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
	pg_atomic_uint32 waiter;	/* who waits, counted from 1, or 0 */
	int32		quantity;
	int64		item_id;
	int64		user_id;
	int64		order_id;
	SeckillOutcome outcome;
	int			error;			/* SQLSTATE, or 0 */
	pg_uuid_t	request_id;
	bool		has_request;
} RingCell;

/* What went wrong with a purchase, kept until others fail. */
typedef struct RingError
{
	uint64		ticket;
	char		message[256];
} RingError;

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
	Latch	   *latch;			/* its, or that of the last one */
	pg_atomic_uint32 failures;	/* starts of a worker since one succeeded */
	uint64		first;			/* tickets before this are of another life */
	ConditionVariable decided;	/* for those who ask for a ticket */
	slock_t		error_mutex;
	int			next_error;
	RingError	errors[RING_ERRORS];

	/* written all the time, each on a cache line of its own */
	char		pad0[PG_CACHE_LINE_SIZE];
	pg_atomic_uint64 tail;		/* next ticket to give out */
	char		pad1[PG_CACHE_LINE_SIZE];
	pg_atomic_uint64 head;		/* all before it are decided */
	char		pad2[PG_CACHE_LINE_SIZE];
	pg_atomic_uint32 sleeping;	/* is the worker to be woken? */
	char		pad3[PG_CACHE_LINE_SIZE];
} Ring;

typedef struct Rings
{
	LWLock	   *lock;
	Ring		queue[RING_DATABASES];
} Rings;

extern Rings *seckill_rings;

extern RingCell *seckill_ring_cells;	/* seckill_queue_size for each queue */

/* The queue of my database, once I have used it. */
extern Ring *seckill_my_ring;

static inline RingCell *
cell_of(Ring *q, uint64 ticket)
{
	return &seckill_ring_cells[(q - seckill_rings->queue) * seckill_queue_size +
							   ticket % seckill_queue_size];
}

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

static inline bool
is_over(uint64 state)
{
	return phase_in(state) == CELL_FREE || phase_in(state) == CELL_DECIDED;
}

/* Move the cell of ticket from one phase to another, if it is in the first. */
static inline bool
move_cell(RingCell *cell, uint64 ticket, RingPhase from, RingPhase to)
{
	uint64		expected = state_of(ticket, from);

	return pg_atomic_compare_exchange_u64(&cell->state, &expected,
										  state_of(ticket, to));
}

#endif							/* SECKILL_SHMEM_RING_PRIVATE_H */
