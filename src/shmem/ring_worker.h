/*
 * ring_worker.h
 *		The worker's side of the queue.
 */
#ifndef SECKILL_SHMEM_RING_WORKER_H
#define SECKILL_SHMEM_RING_WORKER_H

#include "utils/elog.h"

#include "seckill.h"

/* Are purchases of this item to be read? */
typedef bool (*RingFilter) (int64 item_id, const void *arg);

/* Tickets still to be read, from next to before end. */
typedef struct RingRange
{
	uint64		next;
	uint64		end;
} RingRange;

extern bool seckill_ring_claim(Oid dbid, uint32 *failures);
extern void seckill_ring_started(void);
extern void seckill_ring_release(bool restart);
extern bool seckill_ring_retire(void);
extern bool seckill_ring_sleep(int timeout_ms);
extern void seckill_ring_nap(uint64 seen, int timeout_ms);
extern RingRange seckill_ring_range(void);
extern int	seckill_ring_read(RingRange *range, Purchase *jobs, int max,
							  RingFilter accept, const void *arg);
extern bool seckill_ring_take(const Purchase *job);
extern bool seckill_ring_awaited(const Purchase *job);
extern void seckill_ring_put_back(const Purchase *job);
extern void seckill_ring_publish(const Purchase *jobs, int n, bool confirmed);
extern void seckill_ring_fail(const Purchase *job, const ErrorData *error);

#endif							/* SECKILL_SHMEM_RING_WORKER_H */
