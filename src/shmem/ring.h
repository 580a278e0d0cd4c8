/*
 * ring.h
 *		TODO
 */
#ifndef SECKILL_SHMEM_RING_H
#define SECKILL_SHMEM_RING_H

#include "base/compat.h"
#include "base/shmem.h"
#include "seckill.h"
#include "shmem/ring_private.h"

extern const SeckillShmem seckill_ring_shmem;
extern Ring *seckill_ring_find(Oid dbid);
extern Ring *seckill_ring_of_database(bool open);
extern Ring *seckill_ring_get(void);
extern void seckill_ring_drop_database(Oid dbid);
extern bool seckill_ring_ensure_worker(Ring *q);
SECKILL_NORETURN extern void seckill_ring_no_worker(void);
extern void seckill_ring_need_worker(Ring *q);
extern bool seckill_ring_put(Ring *q, const Purchase *p, int waiter,
							 uint64 *ticket);
extern int64 seckill_ring_backlog(int *pid);
extern uint32 seckill_queue_worker_wait_event(void);

#endif							/* SECKILL_SHMEM_RING_H */
