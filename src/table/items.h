/*
 * items.h
 *		TODO
 */
#ifndef SECKILL_TABLE_ITEMS_H
#define SECKILL_TABLE_ITEMS_H

#include "datatype/timestamp.h"

#include "seckill.h"

extern void seckill_ledger_lock(int64 item_id, ItemRow *row);
extern bool seckill_ledger_try_lock(int64 item_id, ItemRow *row);
extern void seckill_ledger_try_lock_many(const int64 *item_ids, int n,
										 ItemRow *rows, bool *locked);
extern void seckill_ledger_probe_many(const int64 *item_ids, int n,
									  bool *unlocked);
extern bool seckill_ledger_sell(int64 item_id, int32 units);
extern bool seckill_ledger_sell_version(int64 item_id, int32 units,
										int64 version);
extern void seckill_ledger_sell_locked(int64 item_id, int32 from_row,
									   int32 from_lease);
extern void seckill_ledger_sell_many(const int64 *item_ids, const int32 *units,
									 int n);
extern void seckill_ledger_overwrite(int64 item_id, int32 stock);
extern int64 seckill_ledger_seal(int64 item_id, int64 lease_id,
								 int64 supplied);
extern void seckill_ledger_lease(int64 item_id, int32 units, int64 lease_id);
extern void seckill_ledger_give_back(int64 item_id, int32 units);
extern void seckill_ledger_return(int64 item_id, int32 units);
extern void seckill_ledger_close(int64 item_id, int32 units);
extern void seckill_ledger_supply(int64 item_id, int64 units);
extern void seckill_ledger_write_off(int64 item_id, int64 units,
									 int64 lease_id);
extern bool seckill_ledger_any_lease(void);
extern int seckill_ledger_opening(TimestampTz after, TimestampTz until,
								  int64 *item_ids, int max);
extern TimestampTz seckill_ledger_next_opening(TimestampTz after);

#endif							/* SECKILL_TABLE_ITEMS_H */
