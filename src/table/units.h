/*
 * units.h
 *		Statements on seckill.units.
 */
#ifndef SECKILL_TABLE_UNITS_H
#define SECKILL_TABLE_UNITS_H

#include "base/number_set.h"
#include "table/unit_scan.h"

/* A number that has a value: its prize and amount, 0 if NULL. */
typedef struct UnitPrize
{
	int32		unit;
	int32		prize;
	int64		amount;
} UnitPrize;

extern void seckill_units_insert(int64 item_id, const int32 *units,
								 const UnitValue *values, int n);
extern void seckill_units_delete(int64 item_id);
extern bool seckill_units_any(void);
extern bool seckill_units_any_from(int64 item_id, int32 first);
extern int32 seckill_units_find(int64 item_id, const text *code);
extern void seckill_units_known_codes(int64 item_id, Datum *codes,
									  bool *nulls, int n, bool *known);
extern int64 seckill_units_sum(int64 item_id, const NumberSet *numbers);
extern int32 seckill_units_count(int64 item_id, int32 first, int32 last);
extern int	seckill_units_read(int64 item_id, int32 first, int32 last,
							   UnitPrize *units, int max);

#endif							/* SECKILL_TABLE_UNITS_H */
