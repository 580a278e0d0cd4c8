/*
 * cache_counters.h
 *		TODO
 */
#ifndef SECKILL_SHMEM_CACHE_COUNTERS_H
#define SECKILL_SHMEM_CACHE_COUNTERS_H

#include "datatype/timestamp.h"

#include "seckill.h"
#include "shmem/cache_private.h"
#include "shmem/counters.h"

/* What an entry tells without a lock. */
typedef struct StockGlance
{
	bool		known;			/* are the rules below loaded? */
	bool		sold_out;
	TimestampTz checked_at;		/* when the row was last read for this */
	SaleRules	rules;
} StockGlance;

/* Units taken from an entry in one step. */
typedef struct StockTaken
{
	int32		units;
	int64		lease_id;
	bool		low;			/* time to begin a refill */
} StockTaken;

extern void seckill_stock_glance(StockEntry *entry, StockGlance *glance);
extern bool seckill_stock_claim_check(StockEntry *entry, TimestampTz seen,
									  TimestampTz now);
extern uint64 seckill_stock_generation(StockEntry *entry);
extern void seckill_stock_learn(StockEntry *entry, uint64 generation,
								const ItemRow *row, TimestampTz now);
extern int32 seckill_stock_avail(StockEntry *entry);
extern int64 seckill_stock_lease_id(StockEntry *entry);
extern void seckill_stock_read(StockEntry *entry, StockCounters *counters);
extern bool seckill_stock_is_vacant(StockEntry *entry, const StockOwn *own);
extern void seckill_stock_take(StockEntry *entry, int32 min, int32 max,
							   StockTaken *taken);
extern void seckill_stock_adjust(StockEntry *entry, int64 lease_id,
								 int32 avail, int32 held);
extern StockVerdict seckill_stock_judge(StockEntry *entry, uint64 generation,
										const ItemRow *row, int32 quantity,
										const StockOwn *own);
extern void seckill_cache_start_lease(StockEntry *entry);
extern void seckill_stock_renew(StockEntry *entry, int64 lease_id);
extern bool seckill_stock_close(StockEntry *entry);
extern bool seckill_stock_stale(StockEntry *entry, const ItemRow *row);
extern void seckill_stock_set_dry(StockEntry *entry, bool dry);
extern void seckill_stock_set_refilling(StockEntry *entry, bool refilling);
extern bool seckill_stock_is_refilling(StockEntry *entry);
extern void seckill_cache_forget_rules(StockEntry *entry);

#endif							/* SECKILL_SHMEM_CACHE_COUNTERS_H */
