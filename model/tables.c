/*
 * tables.c
 *		The tables as a transaction sees and changes them: src/ledger.c of the
 *		extension.
 */
#include "laws.h"
#include "steps.h"
#include "tables.h"
#include "transactions.h"
#include "world.h"

/* Lock the tables against TRUNCATE to the end of the transaction. */
void
open_items(Txn *t)
{
	await_lock(t, &table_lock, "wait for the table");
	t->reads_table = true;
}

ItemRow
read_row(const Txn *t, int item)
{
	return t->work.row[item].mine ? t->work.row[item] : table[item];
}

void
write_row(Txn *t, int item, ItemRow *row, bool announce)
{
	row->version++;
	row->mine = true;
	if (row->stock < 0 || row->leased < 0)
		broken("stock or leased would be negative", item);
	t->work.row[item] = *row;
	t->work.changed[item] |= announce;
	step(t, "write row");
}

ItemRow
lock_row(Txn *t, int item)
{
	ItemRow		row;

	open_items(t);
	t->wrote = true;
	take_lock(t, &row_locks[item], "wait for the row");
	row = read_row(t, item);
	step(t, "lock row");
	return row;
}

ItemRow
peek(Txn *t, int item)
{
	ItemRow		row;

	open_items(t);
	row = read_row(t, item);
	step(t, "read row");
	return row;
}

void
write_order(Txn *t, int item, int32 units, int64 lease_id)
{
	Order		order = {item, units, lease_id, true};

	t->work.orders[t->work.norders++] = order;
	t->work.used[item] += units;
	counts[SALES]++;
}

static int32
count_order(const Order *order, int item, int64 lease_id)
{
	if (order->item != item || order->lease_id != lease_id ||
		(mutation == SETTLE_LIVE_ORDERS && !order->live))
		return 0;
	return order->units;
}

int32
sold_on_lease(const Txn *t, int item, int64 lease_id)
{
	int32		units = 0;

	for (int k = 0; k < norders; k++)
		units += count_order(&orders[k], item, lease_id);
	for (int k = 0; k < t->work.norders; k++)
		units += count_order(&t->work.orders[k], item, lease_id);
	return units;
}
