/*
 * settle.h
 *		Settling an item: making its locked row and its cache entry agree.
 */
#ifndef SECKILL_SALE_SETTLE_H
#define SECKILL_SALE_SETTLE_H

#include "base/number_set.h"
#include "seckill.h"

extern NumberSet *seckill_settle_numbers(int64 item_id, const ItemRow *row,
										 const NumberSet *own);
extern void seckill_settle(Purchase *p, ItemRow *row);

#endif							/* SECKILL_SALE_SETTLE_H */
