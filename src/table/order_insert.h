/*
 * order_insert.h
 *		Inserts the orders of purchases, and checks the fence.
 */
#ifndef SECKILL_TABLE_ORDER_INSERT_H
#define SECKILL_TABLE_ORDER_INSERT_H

#include "seckill.h"

extern void seckill_orders_insert(Purchase **list, int n);
extern bool seckill_orders_insert_fenced(Purchase **list, int n,
										 int64 lease_id);

#endif							/* SECKILL_TABLE_ORDER_INSERT_H */
