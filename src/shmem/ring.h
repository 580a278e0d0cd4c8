/*
 * ring.h
 *		The queue of a database: what all processes may ask of it.
 */
#ifndef SECKILL_SHMEM_RING_H
#define SECKILL_SHMEM_RING_H

#include "base/shmem.h"

extern const SeckillShmem seckill_ring_shmem;
extern void seckill_ring_check_preloaded(void);
extern void seckill_ring_drop_database(Oid dbid);
extern int64 seckill_ring_backlog(int *pid);
extern uint32 seckill_ring_worker_wait_event(void);

#endif							/* SECKILL_SHMEM_RING_H */
