/*
 * refill.h
 *		TODO
 */
#ifndef SECKILL_SALE_REFILL_H
#define SECKILL_SALE_REFILL_H

#include "seckill.h"
#include "shmem/cache_counters.h"

extern bool seckill_lease_obtain(Purchase *p, StockTaken *taken);
extern void seckill_lease_top_up(Purchase *p);

#endif							/* SECKILL_SALE_REFILL_H */
