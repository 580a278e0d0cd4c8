/*
 * orders.h
 *		Statements on orders that exist: move them from state to state, find
 *		those that are due, read them.
 */
#ifndef SECKILL_TABLE_ORDERS_H
#define SECKILL_TABLE_ORDERS_H

#include "datatype/timestamp.h"

#include "base/compat.h"
#include "seckill.h"

/* What the row of a locked order says. */
typedef struct OrderRow
{
	int64		user_id;
	int32		quantity;
	OrderState	state;
	TimestampTz created_at;
} OrderRow;

/* The number of columns that seckill_orders_read() reads. */
#define ORDER_DETAILS	7

typedef struct OrderKey
{
	int64		item_id;
	int64		order_id;
} OrderKey;

extern bool seckill_orders_read(int64 item_id, int64 order_id,
								Datum *values, bool *nulls);
SECKILL_NORETURN extern void seckill_orders_not_updated(int64 item_id,
														int64 order_id);
extern bool seckill_orders_confirm(int64 item_id, int64 order_id);
extern bool seckill_orders_lock(int64 item_id, int64 order_id,
								OrderRow *row);
extern void seckill_orders_confirm_late(int64 item_id, int64 order_id,
										bool limited);
extern void seckill_orders_cancel(int64 item_id, int64 order_id);
extern int	seckill_orders_expire(int64 item_id, const OrderKey *orders, int n,
								  TimestampTz now, int64 *units);
extern int	seckill_orders_overdue(TimestampTz now, const int64 *except,
								   int nexcept, int skip, OrderKey *orders,
								   int max);
extern TimestampTz seckill_orders_next_pay_by(TimestampTz after);
extern void seckill_orders_mark_limited(int64 item_id);
extern int64 seckill_orders_sold_on_lease(int64 item_id, int64 lease_id);
extern bool seckill_orders_exist(int64 item_id);
extern bool seckill_orders_any(void);

#endif							/* SECKILL_TABLE_ORDERS_H */
