/*
 * refill.h
 *		Refill: getting units for a purchase that finds the cache short.
 */
#ifndef SECKILL_SALE_REFILL_H
#define SECKILL_SALE_REFILL_H

#include "seckill.h"
#include "shmem/cache_counters.h"

extern bool seckill_refill_obtain(Purchase *p, TakenUnits *taken);
extern void seckill_refill_ahead(Purchase *p);

#endif							/* SECKILL_SALE_REFILL_H */
