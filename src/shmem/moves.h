/*
 * moves.h
 *		Waiting until an item has been moved between nodes.
 */
#ifndef SECKILL_SHMEM_MOVES_H
#define SECKILL_SHMEM_MOVES_H

#include "base/clock.h"
#include "base/shmem.h"

extern const SeckillShmem seckill_moves_shmem;
extern void seckill_moves_announce(void);
extern void seckill_moves_begin_wait(void);
extern bool seckill_moves_wait(ClockTime until);
extern void seckill_moves_end_wait(void);

#endif							/* SECKILL_SHMEM_MOVES_H */
