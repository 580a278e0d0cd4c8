/*
 * order.h
 *		The life of an order after the purchase.
 */
#ifndef SECKILL_SALE_ORDER_H
#define SECKILL_SALE_ORDER_H

#include "seckill.h"
#include "table/orders.h"

extern OrderState seckill_order_confirm(int64 item_id, int64 order_id);
extern void seckill_order_return_units(int64 item_id,
									   const ReturnedUnits *returned);
extern OrderState seckill_order_cancel(int64 item_id, int64 order_id,
									   bool refund);

#endif							/* SECKILL_SALE_ORDER_H */
