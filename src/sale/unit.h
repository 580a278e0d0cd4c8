/*
 * unit.h
 *		Units with numbers: what an order's unit is worth, and whether it is on
 *		sale again when the order gives it up.
 */
#ifndef SECKILL_SALE_UNIT_H
#define SECKILL_SALE_UNIT_H

#include "datatype/timestamp.h"

#include "seckill.h"
#include "table/orders.h"
#include "table/unit_scan.h"

extern void seckill_unit_values(Purchase *purchases, int n, UnitValue *values);
extern void seckill_unit_of_order(int64 item_id, int64 order_id, int32 *unit,
								  UnitValue *value);
extern bool seckill_unit_stays(int64 item_id, const OrderRow *order,
							   bool *tells_pending);
extern int	seckill_unit_expire(int64 item_id, const DueKey *orders, int n,
								TimestampTz now, ReturnedUnits *returned);

#endif							/* SECKILL_SALE_UNIT_H */
