/*
 * numbered_items.h
 *		Statements on seckill.items that move units with numbers.
 */
#ifndef SECKILL_TABLE_NUMBERED_ITEMS_H
#define SECKILL_TABLE_NUMBERED_ITEMS_H

#include "commands/trigger.h"

#include "base/number_set.h"
#include "seckill.h"

extern bool seckill_numbered_sell_version(int64 item_id, int64 version,
										  const int32 *numbers, int32 units);
extern void seckill_numbered_sell_locked(int64 item_id, const int32 *numbers,
										 int32 from_row, int32 from_lease);
extern void seckill_numbered_sell_many(const int64 *item_ids,
									   int32 *const *numbers,
									   const int32 *units, int n);
extern void seckill_numbered_lease(int64 item_id, const int32 *numbers,
								   int32 units, int64 lease_id);
extern void seckill_numbered_unlease(int64 item_id, const int32 *numbers,
									 int32 units);
extern void seckill_numbered_add_stock(int64 item_id, const int32 *numbers,
									   int32 units);
extern void seckill_numbered_close_lease(int64 item_id, const NumberSet *set);
extern void seckill_numbered_supply(int64 item_id, const ItemRow *row,
									int32 first, int32 units);
extern void seckill_numbered_hide(int64 item_id, const NumberSet *set);
extern void seckill_numbered_exchange(int64 item_id, const NumberSet *received,
									  const NumberSet *sent);
extern void seckill_numbered_overwrite(int64 item_id, const ItemRow *row,
									   const NumberSet *on_sale, int64 all);
extern void seckill_numbered_release(int64 item_id, const ItemRow *row,
									 const NumberSet *set);
extern void seckill_numbered_withdraw(int64 item_id, const ItemRow *row,
									  const NumberSet *from_row,
									  const NumberSet *from_lease);
extern void seckill_numbered_strike(TriggerData *trigger);

#endif							/* SECKILL_TABLE_NUMBERED_ITEMS_H */
