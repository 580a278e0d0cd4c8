/*
 * cache_scan.h
 *		Operations on many cache entries, and on entries that are not pinned.
 */
#ifndef SECKILL_SHMEM_CACHE_SCAN_H
#define SECKILL_SHMEM_CACHE_SCAN_H

#include "seckill.h"

/* A row that seckill_cache() returns. */
typedef struct CacheInfo
{
	int64		item_id;
	int64		lease_id;
	int32		avail;
	int32		held;
	bool		sold_out;
	bool		hot;
} CacheInfo;

extern void seckill_cache_row_changed(Oid items, int64 item_id);
extern void seckill_cache_rows_changed(Oid items);
extern bool seckill_cache_has_table(Oid items);
extern void seckill_cache_drop_table(Oid items);
extern void seckill_cache_drop_database(Oid dbid);
extern int	seckill_cache_list(Oid items, CacheInfo **rows);
extern CacheEntry *seckill_cache_next(Oid items, int *next, int64 *item_id);

#endif							/* SECKILL_SHMEM_CACHE_SCAN_H */
