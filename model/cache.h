/*
 * cache.h
 *		The entries of the stock cache: src/shmem/cache.c and
 *		cache_counters.c, and src/xact/entry.c of the extension.
 */
#ifndef MODEL_CACHE_H
#define MODEL_CACHE_H

#include "model.h"

extern void cache_start_lease(Entry *entry);
extern void cache_adjust(Entry *entry, int64 lease_id, int32 avail,
						 int32 held);
extern void cache_return_numbers(Entry *entry, int64 lease_id,
								 const int32 *numbers, int32 n);
extern void cache_add_numbers(Entry *entry, int64 lease_id,
							  const int32 *numbers, int32 n);
extern bool cache_add_ring(Entry *entry);
extern void cache_renew_lease(Entry *entry, int64 lease_id);
extern bool cache_close_lease(Entry *entry);
extern UnitsVerdict cache_judge(Entry *entry, uint64 generation,
								const ItemRow *row, int32 quantity,
								const OwnUnits *own);
extern void cache_evict(Entry *entry);
extern Entry *entry_find(Txn *t, int item);
extern Entry *entry_enter(Txn *t, int item);
extern void cache_row_changed(int item);

#endif							/* MODEL_CACHE_H */
