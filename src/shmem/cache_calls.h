/*
 * cache_calls.h
 *		Is an item hot?  Mode auto sells hot items from the cache.
 */
#ifndef SECKILL_SHMEM_CACHE_CALLS_H
#define SECKILL_SHMEM_CACHE_CALLS_H

#include "seckill.h"

extern bool seckill_cache_record_calls(CacheEntry *entry, int32 calls);
extern void seckill_cache_record_conflict(CacheEntry *entry);
extern void seckill_cache_mark_hot(CacheEntry *entry);

#endif							/* SECKILL_SHMEM_CACHE_CALLS_H */
