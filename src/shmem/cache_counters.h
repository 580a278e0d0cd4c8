/*
 * cache_counters.h
 *		Rules, sold-out flag, counters and generation of a cache entry.
 */
#ifndef SECKILL_SHMEM_CACHE_COUNTERS_H
#define SECKILL_SHMEM_CACHE_COUNTERS_H

#include "datatype/timestamp.h"

#include "base/clock.h"
#include "seckill.h"
#include "shmem/counters.h"

/* What can be read of an entry without a lock. */
typedef struct CachedRules
{
	bool		known;			/* are the rules below valid? */
	bool		sold_out;
	TimestampTz checked_at;		/* when the row was last read for them */
	SaleRules	rules;
} CachedRules;

/* Units taken from an entry in one step. */
typedef struct TakenUnits
{
	int32		units;
	int32	   *numbers;		/* those of the units; NULL: they are alike */
	int64		lease_id;
	bool		low;			/* a refill should start */
} TakenUnits;

extern void seckill_cache_read_rules(CacheEntry *entry, CachedRules *cached);
extern bool seckill_cache_claim_check(CacheEntry *entry, TimestampTz seen,
									  TimestampTz now);
extern uint64 seckill_cache_generation(CacheEntry *entry);
extern void seckill_cache_store_rules(CacheEntry *entry, uint64 generation,
									  const ItemRow *row, TimestampTz now);
extern void seckill_cache_set_certified(CacheEntry *entry, ClockTime until);
extern ClockTime seckill_cache_certified_until(CacheEntry *entry);
extern int32 seckill_cache_avail(CacheEntry *entry);
extern int64 seckill_cache_lease_id(CacheEntry *entry);
extern void seckill_cache_read_counters(CacheEntry *entry,
										LeaseCounters *counters);
extern bool seckill_cache_is_vacant(CacheEntry *entry, const OwnUnits *own);
extern void seckill_cache_take(CacheEntry *entry, int32 min, int32 max,
							   TakenUnits *taken);
extern void seckill_cache_adjust(CacheEntry *entry, int64 lease_id,
								 int32 avail, int32 held);
extern bool seckill_cache_hold_numbered(CacheEntry *entry, int64 lease_id,
										int32 units);
extern void seckill_cache_put_back(CacheEntry *entry, int64 lease_id,
								   const int32 *numbers, int32 n, int32 held);
extern void seckill_cache_refill(CacheEntry *entry, int64 lease_id,
								 const int32 *numbers, int32 n, int32 held);
extern UnitsVerdict seckill_cache_judge(CacheEntry *entry, uint64 generation,
										const ItemRow *row, int32 quantity,
										const OwnUnits *own);
extern void seckill_cache_renew_lease(CacheEntry *entry, int64 lease_id);
extern bool seckill_cache_close_lease(CacheEntry *entry, int32 room);
extern bool seckill_cache_is_stale(CacheEntry *entry, const ItemRow *row);
extern void seckill_cache_set_row_exhausted(CacheEntry *entry,
											bool row_exhausted);
extern void seckill_cache_set_refilling(CacheEntry *entry, bool refilling);
extern bool seckill_cache_is_refilling(CacheEntry *entry);

#endif							/* SECKILL_SHMEM_CACHE_COUNTERS_H */
