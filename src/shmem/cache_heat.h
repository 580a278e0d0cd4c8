/*
 * cache_heat.h
 *		TODO
 */
#ifndef SECKILL_SHMEM_CACHE_HEAT_H
#define SECKILL_SHMEM_CACHE_HEAT_H

#include "shmem/cache_private.h"

extern bool seckill_stock_heat(StockEntry *entry, int32 calls);
extern void seckill_stock_note_conflict(StockEntry *entry);
extern void seckill_stock_preheat(StockEntry *entry);

#endif							/* SECKILL_SHMEM_CACHE_HEAT_H */
