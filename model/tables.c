/*
 * tables.c
 *		The tables as a transaction sees and changes them: src/table/ of the
 *		extension.
 */
#include "laws.h"
#include "sets.h"
#include "steps.h"
#include "tables.h"
#include "world.h"

/* Lock the tables against TRUNCATE until the end of the transaction. */
void
relation_lock_items(Txn *t)
{
	await_lock(t, &table_lock, "wait for the table");
	t->reads_table = true;
}

/* The row as the transaction sees it. */
ItemRow
item_row_seen(const Txn *t, int item)
{
	return t->work.row[item].mine ? t->work.row[item] : table[item];
}

/* Update the locked row; announce the change at commit if asked. */
void
item_write(Txn *t, int item, ItemRow *row, bool announce)
{
	row->version++;
	row->mine = true;
	if (row->stock < 0 || row->leased < 0)
		broken("stock or leased would be negative", item);
	t->work.row[item] = *row;
	t->work.changed[item] |= announce;
	step(t, "write row");
}

/* Wait for the row, lock it and return its latest version. */
ItemRow
item_lock_row(Txn *t, int item)
{
	ItemRow		row;

	relation_lock_items(t);
	t->wrote = true;
	take_lock(t, &row_locks[item], "wait for the row");
	row = item_row_seen(t, item);
	step(t, "lock row");
	return row;
}

/* Read the latest version of the row without locking it. */
ItemRow
item_read_latest(Txn *t, int item)
{
	ItemRow		row;

	relation_lock_items(t);
	row = item_row_seen(t, item);
	step(t, "read row");
	return row;
}

static bool
is_sold(const Order *order, int item, int32 number)
{
	return order->item == item && order->number == number &&
		order->state == LIVE;
}

/*
 * The unique index on the numbers of live orders: no other order has the
 * number.  Not even an uncommitted one, because an INSERT would wait for it.
 */
static void
check_number(const Txn *t, int item, int32 number)
{
	for (int k = 0; k < norders; k++)
	{
		Order		order = order_now(t, k);

		if (is_sold(&order, item, number))
			broken("a number is sold that a live order has", item);
	}
	for (int i = 0; i < ntxns; i++)
		if (!txns[i].visible)
		{
			const Work *work = &txns[i].work;

			for (int k = 0; k < work->norders; k++)
				if (is_sold(&work->orders[k], item, number))
					broken("a number is sold that a new order has", item);
			for (int k = 0; k < work->nmoves; k++)
				if (i != t->id && is_sold(&work->moves[k].now, item, number))
					broken("a number is sold that a changed order has", item);
		}
}

static void
add_order(Txn *t, const Order *order)
{
	if (t->work.norders == NEW_ORDERS)
		broken("the model has too few slots for new orders", order->item);
	if (order->number != 0)
		check_number(t, order->item, order->number);
	t->work.orders[t->work.norders++] = *order;
	t->work.used[order->item] += order->units;
	counts[SALES]++;
}

/* Insert one order, or, for a numbered item, one for each number. */
void
orders_insert(Txn *t, int item, int32 units, const Taken *taken)
{
	ItemRow		row = item_row_seen(t, item);
	Order		order = {.item = item};

	order.units = units;
	order.lease_id = taken->lease_id;
	if (!row.numbered)
	{
		add_order(t, &order);
		return;
	}
	if (set_count(taken->numbers) != units)
		broken("a purchase has more or fewer numbers than units", item);
	order.units = 1;
	order.told = row.reveal == REVEAL_PENDING;
	for (NumberSet left = taken->numbers; left != 0; left &= left - 1)
	{
		order.number = set_lowest(left);
		add_order(t, &order);
		counts[NUMBERED]++;
	}
}

/*
 * Order k as the transaction sees it; from ORDERS on, k counts the orders that
 * it has inserted.
 */
Order
order_now(const Txn *t, int k)
{
	if (k >= ORDERS)
		return t->work.orders[k - ORDERS];
	for (int i = t->work.nmoves - 1; i >= 0; i--)
		if (t->work.moves[i].order == k)
			return t->work.moves[i].now;
	return orders[k];
}

void
change_order(Txn *t, int k, const Order *now)
{
	Order		before = order_now(t, k);

	if (now->number != 0 && now->state == LIVE && before.state != LIVE)
		check_number(t, now->item, now->number);
	if (k >= ORDERS)
		t->work.orders[k - ORDERS] = *now;
	else
	{
		t->work.moves[t->work.nmoves].order = k;
		t->work.moves[t->work.nmoves].now = *now;
		t->work.nmoves++;
	}
}

static int32
count_order(const Order *order, int item, int64 lease_id)
{
	if (order->item != item || order->lease_id != lease_id ||
		order->state == DELETED ||
		(mutation == SETTLE_LIVE_ORDERS && order->state != LIVE))
		return 0;
	return order->units;
}

/* Units that the lease has sold, as the transaction sees it. */
int32
orders_sold_on_lease(const Txn *t, int item, int64 lease_id)
{
	int32		units = 0;

	for (int k = 0; k < norders; k++)
	{
		Order		order = order_now(t, k);

		units += count_order(&order, item, lease_id);
	}
	for (int k = 0; k < t->work.norders; k++)
		units += count_order(&t->work.orders[k], item, lease_id);
	return units;
}

/* The number that the order keeps from the lease; empty if it keeps none. */
static NumberSet
number_of(const Order *order, const ItemRow *row)
{
	bool		has = order->state == LIVE || order->state == BURNT;

	if (mutation == SETTLE_FORGETS_BURNT && order->state == BURNT)
		has = false;
	if (mutation == SETTLE_ENDED_AS_SOLD && order->state == ENDED)
		has = order->lease_id == row->lease_id;
	return has ? set_of(order->number) : 0;
}

/* The unsold numbers of the open lease: all that are in no other place. */
NumberSet
unsold_on_lease(const Txn *t, int item, const ItemRow *row)
{
	NumberSet	found = row->free | row->withdrawn;

	for (int k = 0; k < norders; k++)
	{
		Order		order = order_now(t, k);

		if (order.item == item)
			found |= number_of(&order, row);
	}
	for (int k = 0; k < t->work.norders; k++)
		if (t->work.orders[k].item == item)
			found |= number_of(&t->work.orders[k], row);
	return set_up_to(row->supplied + set_count(row->withdrawn)) & ~found;
}
