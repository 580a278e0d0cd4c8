/*
 * claims.h
 *		Users and requests that a batch of the queue claims instead of locking
 *		them one by one.
 */
#ifndef SECKILL_SHMEM_CLAIMS_H
#define SECKILL_SHMEM_CLAIMS_H

#include "base/shmem.h"

extern const SeckillShmem seckill_claims_shmem;

/* of those who lock */
extern bool seckill_claims_enter(void);
extern void seckill_claims_leave(void);
extern bool seckill_claims_has(uint64 hash);

/* of a batch */
extern bool seckill_claims_open(void);
extern bool seckill_claims_make(const uint64 *hashes, int n);
extern void seckill_claims_close(void);

#endif							/* SECKILL_SHMEM_CLAIMS_H */
