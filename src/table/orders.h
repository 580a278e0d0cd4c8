/*
 * orders.h
 *		TODO
 */
#ifndef SECKILL_TABLE_ORDERS_H
#define SECKILL_TABLE_ORDERS_H

#include "datatype/timestamp.h"

#include "base/compat.h"
#include "seckill.h"

/* What an order's row says, once it is locked. */
typedef struct OrderRow
{
	int64		user_id;
	int32		quantity;
	OrderState	state;
} OrderRow;

/* Columns of an order that seckill_order() shows. */
#define ORDER_DETAILS	7

typedef struct OrderKey
{
	int64		item_id;
	int64		order_id;
} OrderKey;

extern bool seckill_ledger_read_order(int64 item_id, int64 order_id,
									  Datum *values, bool *nulls);
extern void seckill_ledger_order(Purchase * *list, int n);
extern bool seckill_ledger_order_fenced(Purchase * *list, int n,
										int64 lease_id);
SECKILL_NORETURN extern void seckill_ledger_not_updated(int64 item_id,
														int64 order_id);
extern bool seckill_ledger_confirm(int64 item_id, int64 order_id);
extern bool seckill_ledger_lock_order(int64 item_id, int64 order_id,
									  OrderRow *row);
extern void seckill_ledger_confirm_late(int64 item_id, int64 order_id,
										bool limited);
extern void seckill_ledger_cancel(int64 item_id, int64 order_id);
extern int seckill_ledger_expire(int64 item_id, const OrderKey *orders, int n,
								 TimestampTz now, int64 *units);
extern int seckill_ledger_overdue(TimestampTz now, const int64 *except,
								  int nexcept, int skip, OrderKey *orders,
								  int max);
extern TimestampTz seckill_ledger_next_pay_by(TimestampTz after);
extern void seckill_ledger_limit_orders(int64 item_id);
extern int64 seckill_ledger_sold_on_lease(int64 item_id, int64 lease_id);
extern bool seckill_ledger_has_orders(int64 item_id);
extern bool seckill_ledger_any_order(void);

#endif							/* SECKILL_TABLE_ORDERS_H */
