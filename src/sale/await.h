/*
 * await.h
 *		What a purchase that finds too few units does: judge, wait, end a lease
 *		with lost units.
 */
#ifndef SECKILL_SALE_AWAIT_H
#define SECKILL_SALE_AWAIT_H

#include "seckill.h"
#include "shmem/counters.h"

extern uint64 seckill_await_generation(CacheEntry *entry);
extern UnitsVerdict seckill_await_judge(const Purchase *p, const ItemRow *row,
										uint64 generation);
extern bool seckill_await_has_lost(CacheEntry *entry);
extern bool seckill_await_end_lost(Purchase *p, ItemRow *row, int32 own);
extern bool seckill_await_drop_lost(Purchase *p, ItemRow *row, int32 own);
extern void seckill_await_holder(CacheEntry *entry);
extern void seckill_await_units(Purchase *p);

#endif							/* SECKILL_SALE_AWAIT_H */
