/*
 * item_set.h
 *		A set of items, in ascending order.
 */
#ifndef SECKILL_WORKER_ITEM_SET_H
#define SECKILL_WORKER_ITEM_SET_H

#include "seckill.h"

/* Empty if initialized with a memory context alone. */
typedef struct ItemSet
{
	MemoryContext context;		/* where ids is allocated */
	int64	   *ids;
	int			n;
} ItemSet;

extern bool seckill_item_set_has(const ItemSet *set, int64 item_id);
extern int	seckill_item_set_add_undecided(ItemSet *set, const Purchase *list,
										   int n);
extern int64 seckill_item_set_next(const ItemSet *set, int64 item_id);

#endif							/* SECKILL_WORKER_ITEM_SET_H */
