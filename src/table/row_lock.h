/*
 * row_lock.h
 *		Locks rows of seckill.items, and reads them as they were locked.
 */
#ifndef SECKILL_TABLE_ROW_LOCK_H
#define SECKILL_TABLE_ROW_LOCK_H

#include "seckill.h"

extern void seckill_item_lock_row(int64 item_id, ItemRow *row);
extern void seckill_item_lock_row_anywhere(int64 item_id, ItemRow *row);
extern bool seckill_item_try_lock_row(int64 item_id, ItemRow *row);
extern void seckill_items_try_lock_rows(const int64 *item_ids, int n,
										ItemRow *rows, bool *locked);
extern void seckill_items_test_locks(const int64 *item_ids, int n,
									 bool *unlocked);

#endif							/* SECKILL_TABLE_ROW_LOCK_H */
