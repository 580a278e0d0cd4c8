/*
 * unit_scan.c
 *		Numbers that orders have, and values of units, read from an index.
 *
 * Both are read under one latest snapshot: all committed rows and our own, at
 * any isolation level.  They need no SPI, check no rights, and give up their
 * locks on tables and indexes at the end.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "common/int.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "base/columns.h"
#include "table/index_scan.h"
#include "table/relation.h"
#include "table/unit_scan.h"

/*
 * Set bit i of bits for each number i, up to n, that an order of the item has.
 */
void
seckill_unit_scan_ordered(int64 item_id, uint8 *bits, int64 n)
{
	TableScan	s;
	ScanKeyData key;
	Relation	orders = seckill_relation_open_orders();

	seckill_scan_begin(&s, orders, seckill_relation_open_orders_unit(), 1);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	seckill_scan_find(&s, &key, 1);
	while (seckill_scan_next(&s))
	{
		bool		isnull;
		int64		unit = DatumGetInt32(slot_getattr(s.slot, ORDER_UNIT,
													  &isnull));

		if (unit <= n)
			bits[unit / 8] |= 1 << unit % 8;
	}
	seckill_scan_end(&s);
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

	seckill_scan_begin(&s, table, seckill_relation_open_units_key(), 2);
	for (int i = 0; i < n; i++)
	{
		ScanKeyData keys[2];

		ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum(item_id));
		ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ,
					Int32GetDatum(units[i]));
		seckill_scan_find(&s, keys, 2);
		memset(&values[i], 0, sizeof(UnitValue));
		if (seckill_scan_next(&s))
			read_value(s.slot, &values[i]);
	}
	seckill_scan_end(&s);
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
	seckill_scan_find(s, keys, 2);
	return seckill_scan_next(s);
}

/* The number of the unit of the item that has a code; 0 if there is none. */
int32
seckill_unit_scan_find(int64 item_id, const text *code)
{
	TableScan	s;
	Relation	table = seckill_relation_open_units();
	bool		isnull;
	int32		unit = 0;

	seckill_scan_begin(&s, table, seckill_relation_open_units_code(), 2);
	if (find_code(&s, item_id, PointerGetDatum(code)))
		unit = DatumGetInt32(slot_getattr(s.slot, UNIT_UNIT, &isnull));
	seckill_scan_end(&s);
	return unit;
}

/* Set known[i] for each of n values whose code the item has already. */
void
seckill_unit_scan_known(int64 item_id, const UnitValue *values, int n,
						bool *known)
{
	TableScan	s;
	Relation	table = seckill_relation_open_units();

	seckill_scan_begin(&s, table, seckill_relation_open_units_code(), 2);
	for (int i = 0; i < n; i++)
		known[i] = values[i].code != NULL &&
			find_code(&s, item_id, PointerGetDatum(values[i].code));
	seckill_scan_end(&s);
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

	seckill_scan_begin(&s, table, seckill_relation_open_units_key(), 3);
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
		while (seckill_scan_next(&s))
			add_amount(s.slot, &sum);
	}
	seckill_scan_end(&s);
	return sum;
}
