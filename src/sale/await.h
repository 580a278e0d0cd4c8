/*
 * await.h
 *		TODO
 */
#ifndef SECKILL_SALE_AWAIT_H
#define SECKILL_SALE_AWAIT_H

#include "seckill.h"
#include "shmem/counters.h"

extern uint64 seckill_lease_generation(const Purchase *p);
extern StockVerdict seckill_lease_judge(const Purchase *p, const ItemRow *row,
										uint64 generation);
extern bool seckill_lease_has_lost(StockEntry *entry);
extern bool seckill_lease_end_lost(Purchase *p, ItemRow *row, int32 own);
extern bool seckill_lease_drop_lost(Purchase *p, ItemRow *row, int32 own);
extern void seckill_lease_await_holder(StockEntry *entry);
extern void seckill_lease_await_units(Purchase *p);

#endif							/* SECKILL_SALE_AWAIT_H */
