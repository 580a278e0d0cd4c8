/*
 * order_indexes.h
 *		The indexes of seckill.orders that new orders belong into.
 */
#ifndef SECKILL_TABLE_ORDER_INDEXES_H
#define SECKILL_TABLE_ORDER_INDEXES_H

#include "nodes/execnodes.h"

#include "seckill.h"

extern void seckill_order_indexes_learn(Relation orders);
extern void seckill_order_indexes_open(ResultRelInfo *result, Purchase **list,
									   int n);

#endif							/* SECKILL_TABLE_ORDER_INDEXES_H */
