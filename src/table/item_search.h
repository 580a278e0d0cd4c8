/*
 * item_search.h
 *		Statements on seckill.items that look for items.
 */
#ifndef SECKILL_TABLE_ITEM_SEARCH_H
#define SECKILL_TABLE_ITEM_SEARCH_H

#include "datatype/timestamp.h"

extern bool seckill_items_any(void);
extern bool seckill_items_any_lease(void);
extern bool seckill_items_any_numbered(void);
extern int	seckill_items_opening(TimestampTz after, TimestampTz until,
								  int64 *item_ids, int max);
extern TimestampTz seckill_items_next_opening(TimestampTz after);
extern int	seckill_items_elsewhere(int64 *item_ids, int max);
extern bool seckill_items_any_split(Oid items);

#endif							/* SECKILL_TABLE_ITEM_SEARCH_H */
