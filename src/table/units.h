/*
 * units.h
 *		Statements on seckill.units.
 */
#ifndef SECKILL_TABLE_UNITS_H
#define SECKILL_TABLE_UNITS_H

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
extern int32 seckill_units_count(int64 item_id, int32 first, int32 last);
extern int	seckill_units_read(int64 item_id, int32 first, int32 last,
							   UnitPrize *units, int max);

#endif							/* SECKILL_TABLE_UNITS_H */
