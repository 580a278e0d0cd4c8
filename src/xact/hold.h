/*
 * hold.h
 *		What the current transaction holds of the stock cache.
 */
#ifndef SECKILL_XACT_HOLD_H
#define SECKILL_XACT_HOLD_H

#include "shmem/cache_counters.h"
#include "shmem/counters.h"

extern bool seckill_hold_has_slot(void);
extern void seckill_hold_own_units(CacheEntry *entry, OwnUnits *own);
extern bool seckill_hold_uses(CacheEntry *entry, int32 held);
extern bool seckill_hold_take(CacheEntry *entry, int32 quantity,
							  TakenUnits *taken);
extern bool seckill_hold_take_all(CacheEntry *entry, TakenUnits *taken);
extern void seckill_hold_return(CacheEntry *entry, const TakenUnits *taken);
extern void seckill_hold_credit(CacheEntry *entry, int64 lease_id,
								int32 units);
extern bool seckill_hold_credit_numbers(CacheEntry *entry, int64 lease_id,
										const int32 *numbers, int32 units);
extern void seckill_hold_start_refill(CacheEntry *entry);
extern void seckill_hold_end_refill(CacheEntry *entry);
extern void seckill_hold_end(bool committed);
extern bool seckill_hold_any(void);
extern void seckill_hold_commit_level(int level);
extern void seckill_hold_abort_level(int level);

#endif							/* SECKILL_XACT_HOLD_H */
