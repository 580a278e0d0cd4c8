/*
 * cache_numbers.h
 *		Number rings: which numbers the units of a cache entry have.
 */
#ifndef SECKILL_SHMEM_CACHE_NUMBERS_H
#define SECKILL_SHMEM_CACHE_NUMBERS_H

#include "seckill.h"

extern bool seckill_cache_is_numbered(CacheEntry *entry);
extern bool seckill_cache_add_ring(CacheEntry *entry, bool thorough);
extern void seckill_cache_drop_ring(CacheEntry *entry);
extern int32 seckill_cache_number_room(CacheEntry *entry);

#endif							/* SECKILL_SHMEM_CACHE_NUMBERS_H */
