/*
 * split.h
 *		Purchases of an item, wherever its units are.
 */
#ifndef SECKILL_SALE_SPLIT_H
#define SECKILL_SALE_SPLIT_H

#include "seckill.h"

extern void seckill_split_run(Purchase **list, int n);

#endif							/* SECKILL_SALE_SPLIT_H */
