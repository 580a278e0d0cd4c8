/*
 * item_row.h
 *		One row of seckill.items, fetched from its index by its key.
 */
#ifndef SECKILL_TABLE_ITEM_ROW_H
#define SECKILL_TABLE_ITEM_ROW_H

#include "access/transam.h"
#include "executor/tuptable.h"
#include "utils/array.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "base/columns.h"
#include "seckill.h"

/* The columns of a row of seckill.items, from ITEM_ITEM_ID on. */
typedef struct ItemColumns
{
	const Datum *values;
	const bool *nulls;
} ItemColumns;

extern Datum seckill_item_column(const ItemColumns *c, ItemColumn column,
								 Datum if_null);
extern void seckill_item_read_row(const ItemColumns *c, TransactionId xmin,
								  ItemRow *row);
extern void seckill_item_read_numbers(const ItemColumns *c, ItemRow *row);
extern void seckill_item_read_slot(TupleTableSlot *slot, bool numbers,
								   ItemRow *row);
extern bool seckill_item_fetch_slot(Relation items, int64 item_id,
									Snapshot snapshot, TupleTableSlot *slot);
extern bool seckill_item_fetch(Relation items, int64 item_id,
							   Snapshot snapshot, ItemRow *row,
							   LOCKMODE unlock);
extern void seckill_item_read_split(ArrayType *array, SplitNodes *split);
extern bool seckill_item_read_latest(int64 item_id, ItemRow *row);
extern bool seckill_item_read_latest_unlocked(int64 item_id, ItemRow *row);
extern bool seckill_item_read_snapshot(int64 item_id, ItemRow *row);

#endif							/* SECKILL_TABLE_ITEM_ROW_H */
