/*
 * unit_scan.h
 *		Numbers and values of units, read from an index.
 */
#ifndef SECKILL_TABLE_UNIT_SCAN_H
#define SECKILL_TABLE_UNIT_SCAN_H

#include "base/number_set.h"
#include "seckill.h"

/* What a unit is worth; of a blank, all are NULL. */
typedef struct UnitValue
{
	text	   *code;			/* NULL: none */
	bool		has_prize;
	int32		prize;
	bool		has_amount;
	int64		amount;
} UnitValue;

extern void seckill_unit_scan_ordered(int64 item_id, uint8 *bits, int64 n);
extern void seckill_unit_scan_values(int64 item_id, const int32 *units, int n,
									 UnitValue *values);
extern int32 seckill_unit_scan_find(int64 item_id, const text *code);
extern void seckill_unit_scan_known(int64 item_id, const UnitValue *values,
									int n, bool *known);
extern int64 seckill_unit_scan_sum(int64 item_id, const NumberSet *numbers);

#endif							/* SECKILL_TABLE_UNIT_SCAN_H */
