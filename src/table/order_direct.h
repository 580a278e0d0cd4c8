/*
 * order_direct.h
 *		Writes orders without SQL, where nothing but the extension's own objects
 *		is on the table.
 */
#ifndef SECKILL_TABLE_ORDER_DIRECT_H
#define SECKILL_TABLE_ORDER_DIRECT_H

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

#include "seckill.h"

/* What the orders of one INSERT have in common. */
typedef struct NewOrders
{
	SeckillMode mode;
	int64		lease_id;		/* 0: the units are of the row */
	TimestampTz created_at;
	Snapshot	snapshot;		/* InvalidSnapshot: a new one */
} NewOrders;

/* When an order must be paid; 0: it is confirmed already. */
static inline TimestampTz
order_pay_by(const Purchase *p, const NewOrders *new)
{
	return p->rules.pay_within > 0 ? new->created_at + p->rules.pay_within : 0;
}

extern bool seckill_orders_insert_direct(Purchase **list, int n,
										 const NewOrders *new);

#endif							/* SECKILL_TABLE_ORDER_DIRECT_H */
