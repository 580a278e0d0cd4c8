/*
 * settle.h
 *		Settling an item: making its locked row and its cache entry agree.
 */
#ifndef SECKILL_SALE_SETTLE_H
#define SECKILL_SALE_SETTLE_H

#include "seckill.h"

extern void seckill_settle(Purchase *p, ItemRow *row);

#endif							/* SECKILL_SALE_SETTLE_H */
