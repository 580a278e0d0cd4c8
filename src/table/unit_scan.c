/*
 * unit_scan.c
 *		Numbers that orders have, and values of units, read from an index.
 *
 * Both are read under one latest snapshot: all committed rows and our own, at
 * any isolation level.  They need no SPI, check no rights, and give up their
 * locks on tables and indexes at the end.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "common/int.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/columns.h"
#include "base/compat.h"
#include "table/relation.h"
#include "table/unit_scan.h"

/* A scan of a table by an index under the latest snapshot. */
typedef struct TableScan
{
	Relation	table;
	Relation	index;
	Snapshot	snapshot;
	TupleTableSlot *slot;
	IndexScanDesc scan;
} TableScan;

static void
begin_scan(TableScan *s, Relation table, Relation index, int nkeys)
{
	s->table = table;
	s->index = index;
	s->snapshot = RegisterSnapshot(GetLatestSnapshot());
	s->slot = table_slot_create(table, NULL);
	s->scan = SeckillIndexBeginScan(table, index, s->snapshot, nkeys);
}

static bool
next_row(TableScan *s)
{
	CHECK_FOR_INTERRUPTS();
	return index_getnext_slot(s->scan, ForwardScanDirection, s->slot);
}

static void
end_scan(TableScan *s)
{
	index_endscan(s->scan);
	ExecDropSingleTupleTableSlot(s->slot);
	UnregisterSnapshot(s->snapshot);
	index_close(s->index, AccessShareLock);
	table_close(s->table, AccessShareLock);
}

/*
 * Set bit i of bits for each number i, up to n, that an order of the item has.
 */
void
seckill_unit_scan_ordered(int64 item_id, uint8 *bits, int64 n)
{
	TableScan	s;
	ScanKeyData key;
	Relation	orders = seckill_relation_open_orders();

	begin_scan(&s, orders, seckill_relation_open_orders_unit(), 1);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	index_rescan(s.scan, &key, 1, NULL, 0);
	while (next_row(&s))
	{
		bool		isnull;
		int64		unit = DatumGetInt32(slot_getattr(s.slot, ORDER_UNIT,
													  &isnull));

		if (unit <= n)
			bits[unit / 8] |= 1 << unit % 8;
	}
	end_scan(&s);
}

/* Read the value in the slot; the code is copied. */
static void
read_value(TupleTableSlot *slot, UnitValue *value)
{
	bool		isnull;
	Datum		code = slot_getattr(slot, UNIT_CODE, &isnull);

	value->code = isnull ? NULL : DatumGetTextPCopy(code);
	value->prize = DatumGetInt32(slot_getattr(slot, UNIT_PRIZE, &isnull));
	value->has_prize = !isnull;
	value->amount = DatumGetInt64(slot_getattr(slot, UNIT_AMOUNT, &isnull));
	value->has_amount = !isnull;
}

/* Read what n units of the item are worth. */
void
seckill_unit_scan_values(int64 item_id, const int32 *units, int n,
						 UnitValue *values)
{
	TableScan	s;
	Relation	table = seckill_relation_open_units();

	begin_scan(&s, table, seckill_relation_open_units_key(), 2);
	for (int i = 0; i < n; i++)
	{
		ScanKeyData keys[2];

		ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum(item_id));
		ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ,
					Int32GetDatum(units[i]));
		index_rescan(s.scan, keys, 2, NULL, 0);
		memset(&values[i], 0, sizeof(UnitValue));
		if (next_row(&s))
			read_value(s.slot, &values[i]);
	}
	end_scan(&s);
}

/* Look for a code of the item; leaves the scan at its unit if there is one. */
static bool
find_code(TableScan *s, int64 item_id, Datum code)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	ScanKeyEntryInitialize(&keys[1], 0, 2, BTEqualStrategyNumber, InvalidOid,
						   s->index->rd_indcollation[1], F_TEXTEQ, code);
	index_rescan(s->scan, keys, 2, NULL, 0);
	return next_row(s);
}

/* The number of the unit of the item that has a code; 0 if there is none. */
int32
seckill_unit_scan_find(int64 item_id, const text *code)
{
	TableScan	s;
	Relation	table = seckill_relation_open_units();
	bool		isnull;
	int32		unit = 0;

	begin_scan(&s, table, seckill_relation_open_units_code(), 2);
	if (find_code(&s, item_id, PointerGetDatum(code)))
		unit = DatumGetInt32(slot_getattr(s.slot, UNIT_UNIT, &isnull));
	end_scan(&s);
	return unit;
}

/* Set known[i] for each of n values whose code the item has already. */
void
seckill_unit_scan_known(int64 item_id, const UnitValue *values, int n,
						bool *known)
{
	TableScan	s;
	Relation	table = seckill_relation_open_units();

	begin_scan(&s, table, seckill_relation_open_units_code(), 2);
	for (int i = 0; i < n; i++)
		known[i] = values[i].code != NULL &&
			find_code(&s, item_id, PointerGetDatum(values[i].code));
	end_scan(&s);
}

/* Add the amount in the slot to a sum; raises an error if it is too large. */
static void
add_amount(TupleTableSlot *slot, int64 *sum)
{
	bool		isnull;
	int64		amount = DatumGetInt64(slot_getattr(slot, UNIT_AMOUNT, &isnull));

	if (!isnull && pg_add_s64_overflow(*sum, amount, sum))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("sum of amounts is out of range")));
}

/* The sum of the amounts of a set of numbers; those without one count as 0. */
int64
seckill_unit_scan_sum(int64 item_id, const NumberSet *numbers)
{
	TableScan	s;
	Relation	table = seckill_relation_open_units();
	int64		sum = 0;

	begin_scan(&s, table, seckill_relation_open_units_key(), 3);
	for (int i = 0; i < numbers->n; i++)
	{
		ScanKeyData keys[3];

		ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum(item_id));
		ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT4GE,
					Int32GetDatum(numbers->ranges[i].first));
		ScanKeyInit(&keys[2], 2, BTLessEqualStrategyNumber, F_INT4LE,
					Int32GetDatum(numbers->ranges[i].last));
		index_rescan(s.scan, keys, 3, NULL, 0);
		while (next_row(&s))
			add_amount(s.slot, &sum);
	}
	end_scan(&s);
	return sum;
}
