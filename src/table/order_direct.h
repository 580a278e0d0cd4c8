/*
 * order_direct.h
 *		Writes orders without SQL, where nothing but the extension's own objects
 *		is on the table.
 */
#ifndef SECKILL_TABLE_ORDER_DIRECT_H
#define SECKILL_TABLE_ORDER_DIRECT_H

#include "seckill.h"
#include "table/new_orders.h"

extern bool seckill_orders_insert_direct(Purchase **list, int n,
										 const NewOrders *new);

#endif							/* SECKILL_TABLE_ORDER_DIRECT_H */
