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
#include "orders.h"
#include "sale.h"
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
	if (t->pin != NULL && row.stock > 0)
		lease_units(t, item, &row, units < row.stock ? units : row.stock);
	t->pin = NULL;
}

/* Units that go to the row while others hold some stay on hold till we end. */
void
recall(Txn *t, int item)
{
	ItemRow		row = lock_row(t, item);
	int64		lease_id;
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
		units = take_between(t, t->pin, 1, INT32_MAX, &lease_id);
		row.stock += units;
		row.leased -= units;
		if (units > 0 && mutation == RECALL_WITHOUT_HOLD)
		{
			find_claim(t, t->pin, t->level, lease_id)->hold -= units;
			stock_adjust(t->pin, lease_id, 0, -units);
		}
		if (units > 0)
			write_row(t, item, &row, true);
	}
	t->pin = NULL;
}

/* UPDATE seckill.items SET stock = stock + n */
void
restock(Txn *t, int item)
{
	ItemRow		row = lock_row(t, item);
	int32		units = 1 + below(3);

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
		ItemRow		row = {.stock = below(6), .mine = true};

		t->work.row[i] = row;
		t->work.supplied[i] = row.stock;
		t->work.freed[i] = row.stock;
		t->work.changed[i] = true;
	}
	step(t, "truncate");
}

static bool
is_live(const Txn *t, int k)
{
	for (int i = t->work.nmoves - 1; i >= 0; i--)
		if (t->work.moves[i].order == k)
			return t->work.moves[i].live;
	return orders[k].live;
}

static void
move_order(Txn *t, int k, bool live)
{
	t->work.moves[t->work.nmoves].order = k;
	t->work.moves[t->work.nmoves].live = live;
	t->work.nmoves++;
	step(t, live ? "confirm late" : "end order");
}

/* Cancelled or, passing over what is locked, expired: units go to the row. */
void
end_order(Txn *t, int k, bool expire)
{
	int			item = orders[k].item;
	ItemRow		row;

	open_items(t);
	t->item = item;
	if (!expire)
		take_lock(t, &order_locks[k], "wait for the order");
	else if (!try_lock(t, &order_locks[k]))
		return;
	t->wrote = true;
	if (!is_live(t, k))
		return;
	move_order(t, k, false);
	if (!expire)
		line_up(t, item);
	row = lock_row(t, item);
	row.stock += orders[k].units;
	t->work.freed[item] += orders[k].units;
	write_row(t, item, &row, true);
}

/* An order that has expired is paid: its units are taken once more. */
void
pay_late(Txn *t, int k)
{
	ItemRow		row;
	Outcome		outcome;

	open_items(t);
	t->item = orders[k].item;
	take_lock(t, &order_locks[k], "wait for the order");
	t->wrote = true;
	if (is_live(t, k))
		return;
	begin_call(t, orders[k].item, orders[k].units);
	stock_find(t, t->item);
	line_up(t, t->item);
	row = lock_row(t, t->item);
	outcome = sale_decide(t, &row);
	end_call(t, outcome == SOLD_OUT);
	if (outcome != SOLD)
		return;
	t->work.used[t->item] += t->quantity;
	move_order(t, k, true);
}
