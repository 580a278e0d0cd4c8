/*
 * new_orders.h
 *		What all INSERTs of orders have in common.
 */
#ifndef SECKILL_TABLE_NEW_ORDERS_H
#define SECKILL_TABLE_NEW_ORDERS_H

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

#include "seckill.h"
#include "table/plan.h"

/* What the orders of one INSERT have in common. */
typedef struct NewOrders
{
	SeckillMode mode;
	int64		lease_id;		/* 0: the units are of the row, or are seats */
	TimestampTz created_at;
	Snapshot	snapshot;		/* InvalidSnapshot: a new one */
} NewOrders;

/*
 * The columns that every INSERT of orders writes first, and how it gets them:
 * of one order from the arguments 1 to NEW_ORDER_ARGS, of many from arrays and
 * single values, the arguments 1 to NEW_ORDERS_ARGS.  What a statement writes
 * besides are its columns and arguments after these.
 */
#define NEW_ORDER_COLUMNS \
	"item_id, order_id, user_id, quantity, request_id, limited, mode," \
	" lease_id, pay_by, state"

#define NEW_ORDER_ARGS	10
#define NEW_ORDER_VALUES "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10"
#define NEW_ORDER_TYPES \
	INT8OID, INT8OID, INT8OID, INT4OID, UUIDOID, BOOLOID, MODE_TYPE, INT8OID, \
	TIMESTAMPTZOID, STATE_TYPE

#define NEW_ORDERS_ARGS	11
#define NEW_ORDERS_VALUES \
	"u.item_id, u.order_id, u.user_id, u.quantity, u.request_id, u.limited," \
	" $7, $8, u.pay_by, CASE WHEN u.pay_by IS NULL THEN $10 ELSE $11 END"
#define NEW_ORDERS_UNNEST \
	"pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)," \
	" pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6)," \
	" pg_catalog.unnest($9)"
#define NEW_ORDERS_NAMES \
	"item_id, order_id, user_id, quantity, request_id, limited, pay_by"
#define NEW_ORDERS_TYPES \
	INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, UUIDARRAYOID, \
	BOOLARRAYOID, MODE_TYPE, INT8OID, TIMESTAMPTZARRAYOID, STATE_TYPE, \
	STATE_TYPE

/* When an order must be paid; 0: it is confirmed already. */
static inline TimestampTz
new_order_pay_by(const Purchase *p, const NewOrders *new)
{
	return p->rules.pay_within > 0 ? new->created_at + p->rules.pay_within : 0;
}

extern void seckill_new_order_args(const Purchase *p, const NewOrders *new,
								   Datum *args, char *nulls);
extern void seckill_new_orders_args(Purchase **list, int n,
									const NewOrders *new, Datum *args,
									char *nulls);
extern Datum seckill_new_order_seats(const SeatPiece *pieces, int n);
extern Datum seckill_new_order_legs(const SeatPiece *pieces, int n);
extern uint64 seckill_new_orders_run(SqlPlan *plan, Datum *args,
									 const char *nulls, const NewOrders *new);
extern void seckill_new_orders_set_ids(Purchase **list, int n);
extern void seckill_new_orders_done(Purchase **list, int n,
									const NewOrders *new, uint64 inserted);

#endif							/* SECKILL_TABLE_NEW_ORDERS_H */
