/*
 * ring_worker.h
 *		TODO
 */
#ifndef SECKILL_SHMEM_RING_WORKER_H
#define SECKILL_SHMEM_RING_WORKER_H

#include "utils/elog.h"

#include "seckill.h"

/* Is the item one of those to be read? */
typedef bool (*QueueFilter) (int64 item_id, const void *arg);

/* Where the worker reads on: the purchases that were there at first. */
typedef struct QueueRange
{
	uint64		next;
	uint64		end;
} QueueRange;

extern bool seckill_queue_claim(Oid dbid, uint32 *failures);
extern void seckill_queue_started(void);
extern void seckill_queue_release(bool restart);
extern bool seckill_queue_retire(void);
extern bool seckill_queue_sleep(int timeout_ms);
extern void seckill_queue_nap(uint64 seen, int timeout_ms);
extern QueueRange seckill_queue_range(void);
extern int seckill_queue_read(QueueRange *range, Purchase *jobs, int max,
							  QueueFilter accept, const void *arg);
extern bool seckill_queue_take(const Purchase *job);
extern bool seckill_queue_awaited(const Purchase *job);
extern void seckill_queue_put_back(const Purchase *job);
extern void seckill_queue_publish(const Purchase *jobs, int n, bool confirmed);
extern void seckill_queue_fail(const Purchase *job, const ErrorData *error);

#endif							/* SECKILL_SHMEM_RING_WORKER_H */
