/*
 * holders.h
 *		TODO
 */
#ifndef SECKILL_SHMEM_HOLDERS_H
#define SECKILL_SHMEM_HOLDERS_H

#include "access/transam.h"
#include "port/atomics.h"

#include "shmem/cache_private.h"
#include "shmem/counters.h"

/* A place that shows a holder of units. */
typedef struct StockHolder
{
	pg_atomic_uint64 *place;
	uint64		shown;			/* entry << 32 | xid */
} StockHolder;

extern void seckill_stock_publish_holder(int place, StockEntry *entry,
										 TransactionId xid);
extern void seckill_stock_withdraw_holder(int place);
extern void seckill_stock_begin_move(void);
extern void seckill_stock_end_move(void);
extern bool seckill_stock_other_holder(StockEntry *entry, StockHolder *holder);
extern void seckill_stock_forget_holder(StockHolder *holder);
extern bool seckill_stock_has_lost(StockEntry *entry, const StockOwn *own);
extern int32 seckill_stock_drop_lost(StockEntry *entry, int32 own_units);

#endif							/* SECKILL_SHMEM_HOLDERS_H */
