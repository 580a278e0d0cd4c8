/*
 * orders.c
 *		What else happens to items and orders: prewarm, recall, restock, TRUNCATE,
 *		cancel, expiry and late payment.
 */
#include "cache.h"
#include "chance.h"
#include "holds.h"
#include "laws.h"
#include "lease.h"
#include "numbered.h"
#include "orders.h"
#include "sale.h"
#include "sets.h"
#include "steps.h"
#include "tables.h"
#include "world.h"

void
prewarm(Txn *t, int item)
{
	ItemRow		row = lock_row(t, item);
	int32		units = 1 + below(5);

	stock_enter(t, item);
	lease_settle(t, item, &row);
	if (t->pin != NULL)
		units = lease_at_most(t, &row, units);
	if (t->pin != NULL && units > 0)
		lease_units(t, item, &row, units);
	t->pin = NULL;
}

/* Units that go to the row while others hold some stay on hold till we end. */
void
recall(Txn *t, int item)
{
	ItemRow		row = lock_row(t, item);
	Taken		taken;
	int32		units;

	stock_enter(t, item);
	lease_settle(t, item, &row);
	if (row.leased > 0 && stock_close(t->pin))
	{
		step(t, "close");
		lease_settle(t, item, &row);
	}
	else if (row.leased > 0)
	{
		units = take_between(t, t->pin, 1, INT32_MAX, &taken);
		row.stock += units;
		row.leased -= units;
		row.free |= units > 0 && mutation == RECALL_AS_SETTLE ?
			unsold_on_lease(t, item, &row) : taken.numbers;
		if (units > 0 && mutation == RECALL_WITHOUT_HOLD)
		{
			find_hold(t, t->pin, t->level, taken.lease_id)->hold -= units;
			stock_adjust(t->pin, taken.lease_id, 0, -units);
		}
		if (units > 0)
			write_row(t, item, &row, true);
	}
	t->pin = NULL;
}

/* UPDATE seckill.items SET stock = stock + n, or new numbers. */
void
restock(Txn *t, int item)
{
	ItemRow		row = lock_row(t, item);
	int32		units = 1 + below(3);

	if (row.closed || !make_numbers(&row, units))
		return;
	row.stock += units;
	t->work.supplied[item] += units;
	t->work.freed[item] += units;
	write_row(t, item, &row, true);
}

/* TRUNCATE both tables, and new items. */
void
truncate_tables(Txn *t)
{
	if (t->level > 0 || t->block)
		return;
	do
	{
		t->wait_lock = &table_lock;
		t->wait_readers = true;
		step_on(t, "wait for the table");
	} while (!is_ready(t));
	stop_waiting(t);
	(void) try_lock(t, &table_lock);
	t->work.emptied = true;
	for (int i = 0; i < ITEMS; i++)
	{
		ItemRow		row = new_item(6);

		row.mine = true;

		t->work.row[i] = row;
		t->work.supplied[i] = row.stock;
		t->work.freed[i] = row.stock;
		t->work.changed[i] = true;
	}
	step(t, "truncate");
}

/* No other transaction changes the order until we end. */
static void
lock_order(Txn *t, int k)
{
	open_items(t);
	t->item = order_now(t, k).item;
	if (k < ORDERS)
		take_lock(t, &order_locks[k], "wait for the order");
	t->wrote = true;
}

/* A unit has come back to the locked row. */
static void
return_units(Txn *t, ItemRow *row, const Order *order)
{
	NumberSet	number = row->numbered ? set_of(order->number) : 0;

	if (row->closed && mutation != CLOSE_THEN_SELL)
	{
		row->withdrawn |= number;
		row->owed |= number;
		row->supplied--;
		t->work.supplied[order->item]--;
		t->work.used[order->item]++;
	}
	else
	{
		row->stock += order->units;
		row->free |= number;
	}
	t->work.freed[order->item] += order->units;
}

/* A number that was told stays with its order; the item is not touched. */
static bool
burn_order(Txn *t, int k, Order *order)
{
	if (!order->told || mutation == SELL_TOLD_NUMBER)
		return false;
	order->state = BURNT;
	change_order(t, k, order);
	counts[BURNS]++;
	step(t, "burn order");
	return true;
}

/* Cancelled or, passing over what is locked, expired: units go to the row. */
void
end_order(Txn *t, int k, bool expire)
{
	Order		order;
	ItemRow		row;

	if (expire && k < ORDERS && order_locks[k].owner != NOBODY &&
		order_locks[k].owner != t->id)
		return;
	lock_order(t, k);
	order = order_now(t, k);
	if (order.state != LIVE || burn_order(t, k, &order))
		return;
	order.state = ENDED;
	if (mutation == ORDER_LEAVES_LEASE)
		order.lease_id = 0;
	change_order(t, k, &order);
	step(t, "end order");
	if (!expire)
		line_up(t, order.item);
	row = lock_row(t, order.item);
	return_units(t, &row, &order);
	write_row(t, order.item, &row, true);
}

/* LATE_TAKES_BURNT: what a confirmation must not do. */
static bool
pay_burnt(Txn *t, int k)
{
	Order		order = order_now(t, k);

	if (order.state != BURNT || mutation != LATE_TAKES_BURNT)
		return false;
	order.state = LIVE;
	change_order(t, k, &order);
	return true;
}

/*
 * An order that has expired is paid: its units are taken once more, whichever
 * number that is.  One that was told its number stays what it is.
 */
void
pay_late(Txn *t, int k)
{
	Order		order;
	ItemRow		row;
	Taken		taken;
	Outcome		outcome;

	lock_order(t, k);
	order = order_now(t, k);
	if (order.state != ENDED)
	{
		(void) pay_burnt(t, k);
		return;
	}
	begin_call(t, order.item, order.units);
	stock_find(t, t->item);
	line_up(t, t->item);
	row = lock_row(t, t->item);
	outcome = sale_decide(t, &row, &taken);
	end_call(t, outcome == SOLD_OUT);
	if (outcome != SOLD)
		return;
	t->work.used[t->item] += t->quantity;
	order.state = LIVE;
	if (row.numbered && mutation != LATE_KEEPS_NUMBER)
		order.number = set_lowest(taken.numbers);
	order.told = row.numbered && row.reveal != REVEAL_NEVER;
	change_order(t, k, &order);
	step(t, "confirm late");
}

/* An order is confirmed: the buyer may be told the code of his unit. */
void
tell_order(Txn *t, int k)
{
	Order		order;

	lock_order(t, k);
	order = order_now(t, k);
	if (order.state != LIVE || read_row(t, order.item).reveal != REVEAL_CONFIRMED)
		return;
	order.told = true;
	change_order(t, k, &order);
	step(t, "confirm order");
}

/*
 * DELETE of an order, which is not of the open lease.  Its unit, if it has one,
 * is no longer one of those ever supplied, and its number is withdrawn.
 */
void
archive_order(Txn *t, int k)
{
	Order		order;
	ItemRow		row;

	lock_order(t, k);
	order = order_now(t, k);
	if (k >= ORDERS || order.state == DELETED)
		return;
	row = lock_row(t, order.item);
	if (row.lease_id != 0 && order.lease_id == row.lease_id &&
		mutation != ARCHIVE_OPEN_LEASE)
		raise_error(t);
	if (order.state != ENDED)
	{
		archive_units(t, &row, &order);
		write_row(t, order.item, &row, false);
	}
	order.state = DELETED;
	change_order(t, k, &order);
	counts[ARCHIVED]++;
	step(t, "archive order");
}
