/*
 * items.h
 *		Statements on seckill.items that move units, and change what is sold
 *		where and until when.
 */
#ifndef SECKILL_TABLE_ITEMS_H
#define SECKILL_TABLE_ITEMS_H

#include "datatype/timestamp.h"

#include "seckill.h"
#include "table/plan.h"

extern void seckill_item_update_locked(SqlPlan *plan, Datum *args);
extern bool seckill_item_run_sale(SqlPlan *plan, Datum *args);
extern void seckill_items_run_sales(SqlPlan *plan, Datum *args, int n);
extern bool seckill_item_sell(int64 item_id, int32 units);
extern bool seckill_item_sell_version(int64 item_id, int32 units,
									  int64 version);
extern void seckill_item_sell_locked(int64 item_id, int32 from_row,
									 int32 from_lease);
extern void seckill_items_sell(const int64 *item_ids, const int32 *units,
							   int n);
extern void seckill_item_overwrite(int64 item_id, int32 stock);
extern int64 seckill_item_seal(int64 item_id, int64 lease_id,
							   int64 supplied);
extern Datum seckill_item_seal_argument(int64 item_id, int64 lease_id);
extern void seckill_item_too_many_supplied(int64 item_id);
extern void seckill_item_lease(int64 item_id, int32 units, int64 lease_id);
extern void seckill_item_unlease(int64 item_id, int32 units);
extern void seckill_item_add_stock(int64 item_id, int32 units);
extern void seckill_item_close_lease(int64 item_id, int32 units);
extern void seckill_item_add_supply(int64 item_id, int64 units);
extern int64 seckill_item_subtract_supply(int64 item_id, int64 units,
										  const ItemRow *row);
extern void seckill_item_end_sale(int64 item_id, TimestampTz now);
extern void seckill_item_set_place(int64 item_id, const char *place);
extern void seckill_item_set_split(int64 item_id, const SplitNodes *split);

#endif							/* SECKILL_TABLE_ITEMS_H */
