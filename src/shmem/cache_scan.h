/*
 * cache_scan.h
 *		TODO
 */
#ifndef SECKILL_SHMEM_CACHE_SCAN_H
#define SECKILL_SHMEM_CACHE_SCAN_H

#include "shmem/cache_private.h"

/* A line of seckill_cache(). */
typedef struct StockLine
{
	int64		item_id;
	int64		lease_id;
	int32		avail;
	int32		held;
	bool		sold_out;
	bool		hot;
} StockLine;

extern void seckill_stock_changed(Oid items, int64 item_id);
extern void seckill_stock_changed_all(Oid items);
extern bool seckill_stock_has_table(Oid items);
extern void seckill_stock_drop_table(Oid items);
extern void seckill_stock_drop_database(Oid dbid);
extern int seckill_stock_list(Oid items, StockLine * *lines);
extern StockEntry *seckill_stock_next(Oid items, int *next, int64 *item_id);

#endif							/* SECKILL_SHMEM_CACHE_SCAN_H */
