/*
 * cache.h
 *		The entries of the stock cache: src/stock.c of the extension.
 */
#ifndef MODEL_CACHE_H
#define MODEL_CACHE_H

#include "model.h"

extern void stock_start_lease(Entry *entry);
extern void stock_adjust(Entry *entry, int64 lease_id, int32 avail, int32 held);
extern void stock_return_numbers(Entry *entry, int64 lease_id, const int32 *numbers, int32 n);
extern void stock_add_numbers(Entry *entry, int64 lease_id, const int32 *numbers, int32 n);
extern void stock_renew(Entry *entry, int64 lease_id);
extern bool stock_close(Entry *entry);
extern UnitsVerdict stock_judge(Entry *entry, uint64 generation, const ItemRow *row, int32 quantity, const OwnUnits *own);
extern void evict(Entry *entry);
extern Entry *stock_find(Txn *t, int item);
extern Entry *stock_enter(Txn *t, int item);
extern void stock_changed(int item);

#endif							/* MODEL_CACHE_H */
