/*
 * orders.c
 *		Changes of items and orders other than purchases: prewarm, recall,
 *		restock, TRUNCATE, confirmation, cancellation, expiry, late payment,
 *		deletion.  In the extension: src/sale/lease.c, item.c and order.c.
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

/* Lease some units to the cache. */
void
lease_prewarm(Txn *t, int item)
{
	ItemRow		row = item_lock_row(t, item);
	int32		units = 1 + below(5);

	entry_enter(t, item);
	settle(t, item, &row);
	if (t->pin != NULL)
		units = lease_size(t, &row, units);
	if (t->pin != NULL && units > 0)
		lease_move_to_cache(t, item, &row, units);
	t->pin = NULL;
}

/*
 * Return the units of the cache to the row.  If other transactions hold units
 * of the lease, it stays open, and the units returned stay on hold until this
 * transaction ends.
 */
void
lease_recall(Txn *t, int item)
{
	ItemRow		row = item_lock_row(t, item);
	Taken		taken;
	int32		units;

	entry_enter(t, item);
	settle(t, item, &row);
	if (row.leased > 0 && cache_close_lease(t->pin))
	{
		step(t, "close");
		settle(t, item, &row);
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
			cache_adjust(t->pin, taken.lease_id, 0, -units);
		}
		if (units > 0)
			item_write(t, item, &row, true);
	}
	t->pin = NULL;
}

/* UPDATE seckill.items SET stock = stock + n; a numbered item gets numbers. */
void
item_restock(Txn *t, int item)
{
	ItemRow		row = item_lock_row(t, item);
	int32		units = 1 + below(3);

	if (row.closed || !make_numbers(&row, units))
		return;
	row.stock += units;
	t->work.supplied[item] += units;
	t->work.freed[item] += units;
	item_write(t, item, &row, true);
}

/* TRUNCATE both tables and insert new items. */
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

/* Lock the order until the end of the transaction. */
static void
lock_order(Txn *t, int k)
{
	relation_lock_items(t);
	t->item = order_now(t, k).item;
	if (k < ORDERS)
		take_lock(t, &order_locks[k], "wait for the order");
	t->wrote = true;
}

/* Return the units of an order to the locked row, or withdraw its number. */
static void
order_return_units(Txn *t, ItemRow *row, const Order *order)
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

/*
 * End an order whose number was revealed: it keeps the number, and the item's
 * row does not change.  False if the number was not revealed.
 */
static bool
order_burn(Txn *t, int k, Order *order)
{
	if (!order->told || mutation == SELL_TOLD_NUMBER)
		return false;
	order->state = BURNT;
	change_order(t, k, order);
	counts[BURNS]++;
	step(t, "burn order");
	return true;
}

/*
 * Cancel or expire an order: its units return to the row.  Expiry skips locked
 * orders and takes no item lock.
 */
void
order_end(Txn *t, int k, bool expire)
{
	Order		order;
	ItemRow		row;

	if (expire && k < ORDERS && order_locks[k].owner != NOBODY &&
		order_locks[k].owner != t->id)
		return;
	lock_order(t, k);
	order = order_now(t, k);
	if (order.state != LIVE || order_burn(t, k, &order))
		return;
	order.state = ENDED;
	if (mutation == ORDER_LEAVES_LEASE)
		order.lease_id = 0;
	change_order(t, k, &order);
	step(t, "end order");
	if (!expire)
		item_lock_acquire(t, order.item);
	row = item_lock_row(t, order.item);
	order_return_units(t, &row, &order);
	item_write(t, order.item, &row, true);
}

/* The mutation LATE_TAKES_BURNT: revive a burnt order. */
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
 * Confirm an expired order: buy its units again, with any number.  A burnt
 * order stays burnt.
 */
void
order_confirm_late(Txn *t, int k)
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
	call_begin(t, order.item, order.units);
	entry_find(t, t->item);
	item_lock_acquire(t, t->item);
	row = item_lock_row(t, t->item);
	outcome = decide(t, &row, &taken);
	call_end(t, outcome == SOLD_OUT);
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

/* Confirm an order: the code of its unit may be revealed to the buyer. */
void
order_confirm(Txn *t, int k)
{
	Order		order;

	lock_order(t, k);
	order = order_now(t, k);
	if (order.state != LIVE ||
		item_row_seen(t, order.item).reveal != REVEAL_CONFIRMED)
		return;
	order.told = true;
	change_order(t, k, &order);
	step(t, "confirm order");
}

/*
 * DELETE an order, which raises an error if it belongs to the open lease.  The
 * units of a live or burnt order are written off, and its number is withdrawn.
 */
void
order_archive(Txn *t, int k)
{
	Order		order;
	ItemRow		row;

	lock_order(t, k);
	order = order_now(t, k);
	if (k >= ORDERS || order.state == DELETED)
		return;
	row = item_lock_row(t, order.item);
	if (row.lease_id != 0 && order.lease_id == row.lease_id &&
		mutation != ARCHIVE_OPEN_LEASE)
		raise_error(t);
	if (order.state != ENDED)
	{
		archive_units(t, &row, &order);
		item_write(t, order.item, &row, false);
	}
	order.state = DELETED;
	change_order(t, k, &order);
	counts[ARCHIVED]++;
	step(t, "archive order");
}
