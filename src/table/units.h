/*
 * units.h
 *		Statements on seckill.units.
 */
#ifndef SECKILL_TABLE_UNITS_H
#define SECKILL_TABLE_UNITS_H

extern void seckill_units_delete(int64 item_id);
extern bool seckill_units_any(void);

#endif							/* SECKILL_TABLE_UNITS_H */
