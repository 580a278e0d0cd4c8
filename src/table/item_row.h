/*
 * item_row.h
 *		TODO
 */
#ifndef SECKILL_TABLE_ITEM_ROW_H
#define SECKILL_TABLE_ITEM_ROW_H

#include "access/transam.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "seckill.h"

/* Positions of columns in seckill.items, as the extension script has them. */
enum
{
	ITEM_ITEM_ID = 1,
	ITEM_STOCK = 3,
	ITEM_VERSION = 4,
	ITEM_LEASED = 5,
	ITEM_LEASE_ID = 6,
	ITEM_SUPPLIED = 7,
	ITEM_STARTS_AT = 8,
	ITEM_ENDS_AT = 9,
	ITEM_PER_USER_LIMIT = 10,
	ITEM_REQUIRE_TOKEN = 11,
	ITEM_PAY_WITHIN = 12,
	ITEM_USER_RATE = 13,
	ITEM_USER_BURST = 14,
	ITEM_MAX_WAITERS = 15
};

#define ITEM_COLUMNS	ITEM_MAX_WAITERS

/* The columns of a row of seckill.items, in this order. */
typedef struct ItemColumns
{
	const Datum *values;
	const bool *nulls;
} ItemColumns;

extern Datum seckill_item_column(const ItemColumns *c, int column,
								 Datum if_null);
extern void seckill_item_read_row(const ItemColumns *c, TransactionId xmin,
								  ItemRow *row);
extern bool seckill_item_fetch(Relation items, int64 item_id,
							   Snapshot snapshot, ItemRow *row,
							   LOCKMODE unlock);
extern bool seckill_item_read_latest(int64 item_id, ItemRow *row);
extern bool seckill_item_read_latest_unlocked(int64 item_id, ItemRow *row);
extern bool seckill_item_read_snapshot(int64 item_id, ItemRow *row);

#endif							/* SECKILL_TABLE_ITEM_ROW_H */
