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
#include "table/plan.h"
#include "table/due.h"

/* What the row of a locked order says. */
typedef struct OrderRow
{
	int64		user_id;
	int32		quantity;
	OrderState	state;
	TimestampTz created_at;
	int32		unit;			/* number of its unit; 0: none */
	SeatPiece  *pieces;			/* its seats */
	int			npieces;		/* 0: it has units */
} OrderRow;

/* Units, or seats, that orders have given up. */
typedef struct ReturnedUnits
{
	int64		units;
	int32	   *numbers;		/* NULL: the units are alike */
	SeatPiece  *pieces;			/* of seats, as they come */
	int			npieces;
	bool		tells_pending;	/* the rule by which they were chosen */
} ReturnedUnits;

/* The number of columns that seckill_orders_read() reads. */
#define ORDER_DETAILS	7

extern uint64 seckill_orders_run(SqlPlan *plan, Datum *args);
extern bool seckill_orders_read(int64 item_id, int64 order_id,
								Datum *values, bool *nulls);
SECKILL_NORETURN extern void seckill_orders_not_updated(int64 item_id,
														int64 order_id);
extern bool seckill_orders_confirm(int64 item_id, int64 order_id);
extern bool seckill_orders_lock(int64 item_id, int64 order_id,
								OrderRow *row);
extern void seckill_orders_confirm_late(int64 item_id, int64 order_id,
										bool limited, int32 unit);
extern void seckill_orders_cancel(int64 item_id, int64 order_id,
								  bool keeps_unit);
extern int	seckill_orders_lock_overdue(int64 item_id, const DueKey *orders,
										int n, TimestampTz now,
										DueKey *locked, int32 *numbers);
extern int	seckill_orders_expire(int64 item_id, bool numbered,
								  bool keep_units, const DueKey *orders,
								  int n, TimestampTz now,
								  ReturnedUnits *returned);
extern void seckill_orders_drop_units(int64 item_id, const int32 *numbers,
									  int n);
extern bool seckill_orders_read_unit(int64 item_id, int64 order_id,
									 int32 *unit, OrderState *state);
extern int	seckill_orders_overdue(TimestampTz now, const int64 *except,
								   int nexcept, int skip, DueKey *orders,
								   int max);
extern TimestampTz seckill_orders_next_pay_by(TimestampTz after);
extern void seckill_orders_mark_limited(int64 item_id);
extern int64 seckill_orders_sold_on_lease(int64 item_id, int64 lease_id);
extern OrderState seckill_orders_state_of(Oid value);
extern bool seckill_orders_exist(int64 item_id);
extern bool seckill_orders_any_pending(int64 item_id);
extern bool seckill_orders_any(void);

#endif							/* SECKILL_TABLE_ORDERS_H */
