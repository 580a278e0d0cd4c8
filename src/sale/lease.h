/*
 * lease.h
 *		The life of a lease: started, recalled, emptied.
 */
#ifndef SECKILL_SALE_LEASE_H
#define SECKILL_SALE_LEASE_H

#include "seckill.h"

extern int32 seckill_lease_move_to_cache(Purchase *p, ItemRow *row,
										int32 n);
extern void seckill_lease_drain(Purchase *p);
extern int32 seckill_lease_empty(Purchase *p, ItemRow *row, int32 *numbers);
extern int32 seckill_lease_prewarm(int64 item_id, int32 units);
extern bool seckill_lease_prewarm_ahead(int64 item_id);
extern int32 seckill_lease_recall(int64 item_id);

#endif							/* SECKILL_SALE_LEASE_H */
