/*
 * item_row.c
 *		One row of seckill.items, fetched from its index by its key.
 *
 * This is the most frequent read: it needs no SPI, no executor and no rights,
 * and works outside seckill_table_begin().  The functions differ in the
 * snapshot, and in whether the locks on table and key are kept:
 *
 *	seckill_item_read_latest			latest snapshot, locks kept
 *	seckill_item_read_latest_unlocked	latest snapshot, locks released
 *	seckill_item_read_snapshot			transaction's snapshot, locks kept
 *
 * A lock that is kept, AccessShareLock, holds TRUNCATE and the like off until
 * the end of the transaction.  All return false if there is no such item.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/columns.h"
#include "base/compat.h"
#include "base/fault.h"
#include "base/number_set.h"
#include "seckill.h"
#include "table/item_row.h"
#include "table/relation.h"

/*
 * Ranges of free numbers from which on mode auto leaves the row alone: the row
 * is written anew by each purchase from it.
 */
#define MAX_RANGES	64

/* The value of a column; if_null for a NULL. */
Datum
seckill_item_column(const ItemColumns *c, ItemColumn column, Datum if_null)
{
	return c->nulls[column - 1] ? if_null : c->values[column - 1];
}

/*
 * Has the set of numbers so many gaps that a purchase from the row takes long?
 * One that is compressed or stored out of line has.
 */
static bool
is_fragmented(const ItemColumns *c)
{
	Datum		numbers = seckill_item_column(c, ITEM_NUMBERS, 0);

	return VARATT_IS_EXTENDED(DatumGetPointer(numbers)) &&
		!VARATT_IS_SHORT(DatumGetPointer(numbers)) ?
		true : seckill_numbers_fragmented(numbers, MAX_RANGES);
}

/* Where the item is sold; the table has no other values. */
static ItemPlace
read_place(const ItemColumns *c)
{
	Datum		place = seckill_item_column(c, ITEM_PLACE, 0);

	if (place == 0)
		return PLACE_HERE;
	switch (*VARDATA_ANY(DatumGetPointer(place)))
	{
		case 'm':
			return PLACE_MOVING;
		case 'a':
			return PLACE_ARRIVING;
		default:
			return PLACE_GONE;
	}
}

/* Read an array of node numbers; raises an error if there are too many. */
void
seckill_item_read_split(ArrayType *array, SplitNodes *split)
{
	Datum	   *nodes;
	int			n;

	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT, &nodes,
					  NULL, &n);
	if (n > MAX_SPLIT_NODES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an item can be split over at most %d nodes",
						MAX_SPLIT_NODES)));
	split->n = (uint16) n;
	for (int i = 0; i < n; i++)
		split->node[i] = (uint16) DatumGetInt32(nodes[i]);
}

/* The nodes over which the item is split. */
static void
read_split(const ItemColumns *c, SplitNodes *split)
{
	split->n = 0;
	if (unlikely(!c->nulls[ITEM_SPLIT_OVER - 1]))
		seckill_item_read_split(DatumGetArrayTypeP(c->values[ITEM_SPLIT_OVER - 1]),
								split);
}

static void
read_rules(const ItemColumns *c, SaleRules *rules)
{
	rules->starts_at =
		DatumGetTimestampTz(seckill_item_column(c, ITEM_STARTS_AT,
												TimestampTzGetDatum(DT_NOBEGIN)));
	rules->ends_at =
		DatumGetTimestampTz(seckill_item_column(c, ITEM_ENDS_AT,
												TimestampTzGetDatum(DT_NOEND)));
	rules->per_user_limit =
		DatumGetInt32(seckill_item_column(c, ITEM_PER_USER_LIMIT, 0));
	rules->limit_window = c->nulls[ITEM_LIMIT_WINDOW - 1] ? 0 :
		seckill_microseconds(DatumGetIntervalP(c->values[ITEM_LIMIT_WINDOW - 1]));
	rules->require_token =
		DatumGetBool(seckill_item_column(c, ITEM_REQUIRE_TOKEN, 0));
	rules->pay_within = c->nulls[ITEM_PAY_WITHIN - 1] ? 0 :
		seckill_microseconds(DatumGetIntervalP(c->values[ITEM_PAY_WITHIN - 1]));
	rules->user_rate =
		DatumGetFloat4(seckill_item_column(c, ITEM_USER_RATE, Float4GetDatum(-1)));
	rules->user_burst = DatumGetInt32(seckill_item_column(c, ITEM_USER_BURST, 0));
	rules->max_waiters =
		DatumGetInt32(seckill_item_column(c, ITEM_MAX_WAITERS, Int32GetDatum(-1)));
	rules->legs = DatumGetInt32(seckill_item_column(c, ITEM_LEGS, 0));
	rules->numbered = DatumGetBool(seckill_item_column(c, ITEM_NUMBERED, 0));
	rules->fragmented = rules->numbered && is_fragmented(c);
	rules->tells_pending = rules->numbered &&
		DatumGetObjectId(seckill_item_column(c, ITEM_REVEAL_ON, 0)) ==
		seckill_catalog()->state[ORDER_PENDING];
	rules->place = read_place(c);
	read_split(c, &rules->split);
}

/* Fill *row from the columns of a row that xmin wrote. */
void
seckill_item_read_row(const ItemColumns *c, TransactionId xmin, ItemRow *row)
{
	row->stock = DatumGetInt32(seckill_item_column(c, ITEM_STOCK, 0));
	row->version = DatumGetInt64(seckill_item_column(c, ITEM_VERSION, 0));
	row->leased = DatumGetInt32(seckill_item_column(c, ITEM_LEASED, 0));
	row->lease_id = DatumGetInt64(seckill_item_column(c, ITEM_LEASE_ID,
													  Int64GetDatum(0)));
	row->supplied = DatumGetInt64(seckill_item_column(c, ITEM_SUPPLIED,
													  Int64GetDatum(0)));
	read_rules(c, &row->rules);
	row->numbers = row->off_sale = NULL;
	row->mine = TransactionIdIsCurrentTransactionId(xmin);
}

/* Read the sets of numbers into *row, if the units have numbers. */
void
seckill_item_read_numbers(const ItemColumns *c, ItemRow *row)
{
	if (!row->rules.numbered)
		return;
	row->numbers = seckill_numbers_read(c->values[ITEM_NUMBERS - 1]);
	row->off_sale = seckill_numbers_read(c->values[ITEM_OFF_SALE - 1]);
}

/* Read the row in the slot, with its sets of numbers or without. */
void
seckill_item_read_slot(TupleTableSlot *slot, bool numbers, ItemRow *row)
{
	ItemColumns columns = {slot->tts_values, slot->tts_isnull};
	bool		isnull;
	Datum		xmin = slot_getsysattr(slot, MinTransactionIdAttributeNumber,
									   &isnull);

	slot_getsomeattrs(slot, ITEM_COLUMNS);
	seckill_item_read_row(&columns, DatumGetTransactionId(xmin), row);
	if (numbers)
		seckill_item_read_numbers(&columns, row);
}

/*
 * Fetch the row by its key into a slot of the open table.  Locks the key, and
 * releases it if unlock is AccessShareLock.
 */
static bool
fetch_slot(Relation items, int64 item_id, Snapshot snapshot,
		   TupleTableSlot *slot, LOCKMODE unlock)
{
	Relation	key = seckill_relation_open_items_key();
	IndexScanDesc scan;
	ScanKeyData equal;
	bool		found;

	ScanKeyInit(&equal, 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	scan = SeckillIndexBeginScan(items, key, snapshot, 1);
	index_rescan(scan, &equal, 1, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, slot);
	index_endscan(scan);
	index_close(key, unlock);
	return found;
}

/* Fetch the row by its key into a slot of the open table; keeps the locks. */
bool
seckill_item_fetch_slot(Relation items, int64 item_id, Snapshot snapshot,
						TupleTableSlot *slot)
{
	return fetch_slot(items, item_id, snapshot, slot, NoLock);
}

/* Fetch the row by its key, with its sets of numbers or without. */
static bool
fetch(Relation items, int64 item_id, Snapshot snapshot, bool numbers,
	  ItemRow *row, LOCKMODE unlock)
{
	TupleTableSlot *slot = table_slot_create(items, NULL);
	bool		found = fetch_slot(items, item_id, snapshot, slot, unlock);

	if (found)
		seckill_item_read_slot(slot, numbers, row);
	ExecDropSingleTupleTableSlot(slot);
	return found;
}

/*
 * Fetch the row by its key from the open table, without its sets of numbers.
 * Locks the key, and releases it at the end if unlock is AccessShareLock;
 * NoLock keeps it.
 */
bool
seckill_item_fetch(Relation items, int64 item_id, Snapshot snapshot, ItemRow *row,
				   LOCKMODE unlock)
{
	return fetch(items, item_id, snapshot, false, row, unlock);
}

/*
 * Read the row under a snapshot that is taken once the table is open.
 * Releases the locks on table and key at the end if unlock is AccessShareLock;
 * NoLock keeps them.
 */
static bool
read_item(int64 item_id, Snapshot (*take_snapshot) (void), bool numbers,
		  ItemRow *row, LOCKMODE unlock)
{
	Relation	items = seckill_relation_open_items();
	Snapshot	snapshot = RegisterSnapshot(take_snapshot());
	bool		found = fetch(items, item_id, snapshot, numbers, row, unlock);

	SECKILL_FAULT("row read");
	UnregisterSnapshot(snapshot);
	table_close(items, unlock);
	return found;
}

/*
 * Read the latest committed row, or our own change of it.  Keeps the locks on
 * table and key.
 */
bool
seckill_item_read_latest(int64 item_id, ItemRow *row)
{
	return read_item(item_id, GetLatestSnapshot, false, row, NoLock);
}

/*
 * Read the latest committed row, or our own change of it, and release the
 * locks on table and key.  For a caller that then waits for another process,
 * unseen by the deadlock detector: it must not keep a lock that others wait
 * for.
 */
bool
seckill_item_read_latest_unlocked(int64 item_id, ItemRow *row)
{
	return read_item(item_id, GetLatestSnapshot, false, row, AccessShareLock);
}

/*
 * Read the row, with its sets of numbers, under the transaction's snapshot, in
 * READ COMMITTED a new one.  Keeps the locks on table and key.
 */
bool
seckill_item_read_snapshot(int64 item_id, ItemRow *row)
{
	return read_item(item_id, GetTransactionSnapshot, true, row, NoLock);
}
