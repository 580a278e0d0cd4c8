/*
 * cache.h
 *		TODO
 */
#ifndef SECKILL_SHMEM_CACHE_H
#define SECKILL_SHMEM_CACHE_H

#include "base/shmem.h"
#include "shmem/cache_private.h"

extern void seckill_check_preloaded(const char *name);
extern void seckill_check_queue(void);
extern void seckill_require_cache(void);
extern const SeckillShmem seckill_stock_shmem;
extern bool seckill_stock_ready(void);
extern void seckill_cache_pin(StockEntry *entry);
extern void seckill_stock_unpin(StockEntry *entry);
extern void seckill_stock_unpin_level(int level);
extern bool seckill_stock_join(StockEntry *entry, int32 max_waiters);
extern void seckill_cache_check_nesting(void);
extern StockEntry *seckill_stock_find(Oid items, int64 item_id);
extern StockEntry *seckill_stock_find_in_callback(Oid items, int64 item_id);
extern void seckill_cache_evict(StockEntry *entry);
extern StockEntry *seckill_stock_enter(Oid items, int64 item_id);
extern int seckill_stock_index(const StockEntry *entry);

#endif							/* SECKILL_SHMEM_CACHE_H */
