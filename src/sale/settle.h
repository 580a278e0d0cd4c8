/*
 * settle.h
 *		TODO
 */
#ifndef SECKILL_SALE_SETTLE_H
#define SECKILL_SALE_SETTLE_H

#include "seckill.h"

extern void seckill_settle(Purchase *p, ItemRow *row);

#endif							/* SECKILL_SALE_SETTLE_H */
