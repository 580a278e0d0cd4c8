/*
 * cache.h
 *		The stock cache: directory, pins and eviction of its entries.
 */
#ifndef SECKILL_SHMEM_CACHE_H
#define SECKILL_SHMEM_CACHE_H

#include "base/shmem.h"
#include "seckill.h"

extern void seckill_cache_check_preloaded(const char *name);
extern void seckill_cache_require(void);
extern const SeckillShmem seckill_cache_shmem;
extern bool seckill_cache_ready(void);
extern void seckill_cache_unpin(CacheEntry *entry);
extern void seckill_cache_unpin_level(int level);
extern bool seckill_cache_join(CacheEntry *entry, int32 max_waiters);
extern CacheEntry *seckill_cache_find(Oid items, int64 item_id);
extern CacheEntry *seckill_cache_find_in_callback(Oid items, int64 item_id);
extern CacheEntry *seckill_cache_enter(Oid items, int64 item_id);
extern int	seckill_cache_index(const CacheEntry *entry);

#endif							/* SECKILL_SHMEM_CACHE_H */
