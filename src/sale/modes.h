/*
 * modes.h
 *		The modes: how purchases get their units and write their orders.
 */
#ifndef SECKILL_SALE_MODES_H
#define SECKILL_SALE_MODES_H

#include "seckill.h"

extern void seckill_modes_run(Purchase **list, int n);

#endif							/* SECKILL_SALE_MODES_H */
