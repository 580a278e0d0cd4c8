/*
 * unit.c
 *		Units with numbers: what an order's unit is worth, and whether it is on
 *		sale again when the order gives it up.
 *
 * A value, that is code, prize and amount, was written to seckill.units before
 * the sale, so nothing is computed here.  The buyer is told it as long as the
 * order is live, and from the state on that items.reveal_on says.
 *
 * A number is on sale again when its order is cancelled or expires.  The one
 * exception is a number whose code was told: the buyer knows the code, so
 * nobody else must get it.  The dead order keeps the number for good.
 */
#include "postgres.h"

#include "base/check.h"
#include "base/fault.h"
#include "sale/place.h"
#include "sale/unit.h"
#include "seckill.h"
#include "table/item_row.h"
#include "table/orders.h"
#include "table/plan.h"
#include "table/unit_scan.h"
#include "xact/changes.h"

/* Is the buyer told what the unit of an order in this state is worth? */
static bool
is_told(const SaleRules *rules, OrderState state)
{
	return state == ORDER_CONFIRMED ||
		(state == ORDER_PENDING && rules->tells_pending);
}

/* Read the number and state of an order; raises an error if there is none. */
static void
read_unit(int64 item_id, int64 order_id, int32 *unit, OrderState *state)
{
	TableCaller caller;

	seckill_table_begin(&caller);
	if (!seckill_orders_read_unit(item_id, order_id, unit, state))
		seckill_unknown_order(item_id, order_id);
	seckill_table_end(&caller);
}

/*
 * Set the number of a sold purchase, and return whether its value is told.  A
 * purchase whose order this call has not written, because it is a retry or was
 * decided by the queue worker, looks the order up.
 */
static bool
find_unit(Purchase *p)
{
	OrderState	state = p->rules.pay_within > 0 ? ORDER_PENDING :
		ORDER_CONFIRMED;

	if (p->unit == 0)
		read_unit(p->item_id, p->order_id, &p->unit, &state);
	return p->unit != 0 && is_told(&p->rules, state);
}

/*
 * Set the numbers of the sold ones of n purchases of one item, and read what
 * the buyers are told of their values.
 */
void
seckill_unit_values(Purchase *purchases, int n, UnitValue *values)
{
	int32	   *units = palloc(n * sizeof(int32));
	int		   *which = palloc(n * sizeof(int));
	UnitValue  *told = palloc(n * sizeof(UnitValue));
	int			ntold = 0;

	memset(values, 0, n * sizeof(UnitValue));
	for (int i = 0; i < n; i++)
		if (purchases[i].outcome == SECKILL_SOLD && find_unit(&purchases[i]))
		{
			units[ntold] = purchases[i].unit;
			which[ntold++] = i;
		}
	if (ntold == 0)
		return;
	seckill_unit_scan_values(purchases[0].item_id, units, ntold, told);
	for (int i = 0; i < ntold; i++)
		values[which[i]] = told[i];
}

/*
 * Read the number of an order's unit, 0 if it has none, and what the buyer is
 * told of its value.  Raises an error if the item or the order does not exist.
 */
void
seckill_unit_of_order(int64 item_id, int64 order_id, int32 *unit,
					  UnitValue *value)
{
	ItemRow		row;
	OrderState	state;

	memset(value, 0, sizeof(UnitValue));
	seckill_place_read(item_id);
	if (!seckill_item_read_latest(item_id, &row))
		seckill_unknown_item(item_id);
	read_unit(item_id, order_id, unit, &state);
	if (*unit != 0 && is_told(&row.rules, state))
		seckill_unit_scan_values(item_id, unit, 1, value);
}

/*
 * Does an order that is about to be cancelled keep its number for good?  The
 * order is locked.  *tells_pending is set to the rule of the item, which is to
 * be checked once its row is locked.
 */
bool
seckill_unit_stays(int64 item_id, const OrderRow *order, bool *tells_pending)
{
	ItemRow		row;
	UnitValue	value;

	*tells_pending = false;
	if (order->unit == 0 || !seckill_item_read_latest(item_id, &row))
		return false;
	*tells_pending = row.rules.tells_pending;
	if (!is_told(&row.rules, order->state))
		return false;
	seckill_unit_scan_values(item_id, &order->unit, 1, &value);
	return value.code != NULL;
}

/*
 * Of orders that have expired and still have their numbers, take the numbers
 * that have no code; *returned is reduced to these.
 */
static void
return_without_code(int64 item_id, ReturnedUnits *returned)
{
	int			n = (int) returned->units;
	UnitValue  *values = palloc(Max(n, 1) * sizeof(UnitValue));

	returned->units = 0;
	seckill_unit_scan_values(item_id, returned->numbers, n, values);
	for (int i = 0; i < n; i++)
		if (values[i].code == NULL)
			returned->numbers[returned->units++] = returned->numbers[i];
	if (returned->units > 0)
		seckill_orders_drop_units(item_id, returned->numbers,
								  (int) returned->units);
}

/*
 * Lock those of *orders that are overdue and not locked by others, and note
 * that their numbers are on their way; *orders is set to them.  Returns how many
 * there are.
 */
static int
lock_numbered(int64 item_id, const DueKey **orders, int n, TimestampTz now)
{
	DueKey	   *locked = palloc(n * sizeof(DueKey));
	int32	   *numbers = palloc(n * sizeof(int32));

	n = seckill_orders_lock_overdue(item_id, *orders, n, now, locked, numbers);
	seckill_change_note_moving(item_id, numbers, n);
	*orders = locked;
	return n;
}

/*
 * Expire those of the given orders that are overdue and not locked by others.
 * Returns how many expired, and the units that they give up.  Runs as work on
 * the item.
 */
int
seckill_unit_expire(int64 item_id, const DueKey *orders, int n,
					TimestampTz now, ReturnedUnits *returned)
{
	ItemRow		row;
	bool		numbered = seckill_item_read_latest(item_id, &row) &&
		row.rules.numbered;
	bool		told = numbered && row.rules.tells_pending;
	int			expired;

	if (numbered)
		n = lock_numbered(item_id, &orders, n, now);
	SECKILL_FAULT("overdue orders locked");
	expired = seckill_orders_expire(item_id, numbered, told, orders, n, now,
									returned);
	returned->tells_pending = told;
	SECKILL_FAULT("orders moved to expired");
	if (told && expired > 0)
		return_without_code(item_id, returned);
	return expired;
}
