/*
 * hash_lock.h
 *		Locks on users and requests, by their hashes.
 */
#ifndef SECKILL_XACT_HASH_LOCK_H
#define SECKILL_XACT_HASH_LOCK_H

extern bool seckill_hash_lock(uint64 hash, uint16 class, bool may_wait);
extern bool seckill_hash_lock_claim(const uint64 *hashes, int n);
extern void seckill_hash_lock_end(void);

#endif							/* SECKILL_XACT_HASH_LOCK_H */
