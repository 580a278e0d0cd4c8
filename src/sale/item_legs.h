/*
 * item_legs.h
 *		The legs of an item, while bookings and new seats depend on them.
 */
#ifndef SECKILL_SALE_ITEM_LEGS_H
#define SECKILL_SALE_ITEM_LEGS_H

#include "seckill.h"

extern void seckill_legs_change(int64 item_id);
extern void seckill_legs_keep(void);
extern void seckill_legs_check(Purchase *p);

#endif							/* SECKILL_SALE_ITEM_LEGS_H */
