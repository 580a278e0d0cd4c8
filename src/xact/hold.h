/*
 * hold.h
 *		TODO
 */
#ifndef SECKILL_XACT_HOLD_H
#define SECKILL_XACT_HOLD_H

#include "shmem/cache_counters.h"
#include "shmem/counters.h"

extern bool seckill_xact_has_room(void);
extern void seckill_xact_own(StockEntry *entry, StockOwn *own);
extern bool seckill_xact_uses(StockEntry *entry, int32 held);
extern bool seckill_xact_take(StockEntry *entry, int32 quantity,
							  StockTaken *taken);
extern bool seckill_xact_take_all(StockEntry *entry, StockTaken *taken);
extern void seckill_xact_return(StockEntry *entry, const StockTaken *taken);
extern void seckill_xact_credit(StockEntry *entry, int64 lease_id,
								int32 units);
extern void seckill_xact_start_refill(StockEntry *entry);
extern void seckill_xact_end_refill(StockEntry *entry);
extern void seckill_hold_end(bool committed);
extern bool seckill_hold_any(void);
extern void seckill_hold_commit_level(int level);
extern void seckill_hold_abort_level(int level);

#endif							/* SECKILL_XACT_HOLD_H */
