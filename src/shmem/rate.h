/*
 * rate.h
 *		Rate limits: a token bucket for each user.
 */
#ifndef SECKILL_SHMEM_RATE_H
#define SECKILL_SHMEM_RATE_H

#include "base/shmem.h"
#include "seckill.h"

extern const SeckillShmem seckill_rate_shmem;
extern bool seckill_rate_applies(const Purchase *p);
extern bool seckill_rate_admits(const Purchase *p);

#endif							/* SECKILL_SHMEM_RATE_H */
