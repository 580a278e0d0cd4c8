/*
 * ring_wait.h
 *		The buyers' side of the queue.
 */
#ifndef SECKILL_SHMEM_RING_WAIT_H
#define SECKILL_SHMEM_RING_WAIT_H

#include "base/clock.h"
#include "seckill.h"

extern SeckillOutcome seckill_ring_buy(Purchase *p);
extern SeckillOutcome seckill_ring_submit(const Purchase *p, uint64 *ticket);
extern void seckill_ring_abandon(void);
extern SeckillOutcome seckill_ring_result(int64 number, ClockTime until,
										  int64 *order_id);

#endif							/* SECKILL_SHMEM_RING_WAIT_H */
