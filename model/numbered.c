/*
 * numbered.c
 *		Numbers of an item that are made and withdrawn.
 */
#include <string.h>

#include "cache.h"
#include "chance.h"
#include "holds.h"
#include "lease.h"
#include "numbered.h"
#include "sets.h"
#include "steps.h"
#include "tables.h"
#include "world.h"

/* A new item with less than most units, numbered or not. */
ItemRow
new_item(int most)
{
	ItemRow		row = {.stock = below(most),.numbered = one_in(2)};

	if (!row.numbered)
		return row;
	row.reveal = (Reveal) below(REVEALS);
	row.supplied = row.stock;
	row.free = set_up_to(row.stock);
	return row;
}

/* Add numbers to the locked row, if it has any; false: they would be too many. */
bool
make_numbers(ItemRow *row, int32 units)
{
	int32		made = row->supplied + set_count(row->withdrawn);

	if (!row->numbered)
		return true;
	if (made + units > NUMBERS)
		return false;
	row->free |= set_up_to(made + units) & ~set_up_to(made);
	row->supplied += units;
	return true;
}

/* TRUNCATE */
void
forget_tables(void)
{
	norders = 0;
	memset(supplied, 0, sizeof(supplied));
	memset(told, 0, sizeof(told));
	memset(refunded, 0, sizeof(refunded));
	memset(archived, 0, sizeof(archived));
}

/* Units of a live or burnt order leave the table with it. */
void
archive_units(Txn *t, ItemRow *row, const Order *order)
{
	t->work.supplied[order->item] -= order->units;
	if (!row->numbered || mutation == ARCHIVE_FORGETS_NUMBER)
		return;
	row->withdrawn |= set_of(order->number);
	row->supplied--;
	if (mutation == ARCHIVE_OWES_AMOUNT)
		row->owed |= set_of(order->number);
	t->work.archived[order->item] |= set_of(order->number);
}

/* Wait until the lease has units on hold of our own only; take all others. */
static NumberSet
take_all(Txn *t, ItemRow *row)
{
	NumberSet	numbers = 0;
	Taken		taken;

	for (;;)
	{
		OwnUnits	own = xact_own(t, t->pin);

		if (counters_vacant(&t->pin->c, &own))
			break;
		if (take_between(t, t->pin, 1, INT32_MAX, &taken) > 0)
			numbers |= taken.numbers;
		else if (mutation == CLOSE_IGNORES_HOLDERS)
			break;
		else
			await_holder(t);
	}
	if (mutation != CLOSE_FORGETS_CREDIT &&
		xact_take_credit(t, t->pin, &taken) > 0)
		numbers |= taken.numbers;
	row->leased -= set_count(numbers);
	return numbers;
}

/*
 * Withdraw all that is not sold, and tell its amount, with that of the numbers
 * that came back since the last close.  The numbers that were on hold may be
 * on sale again if we abort, so they stay on hold until we end.
 */
void
close_item(Txn *t, int item)
{
	ItemRow		row = lock_row(t, item);
	NumberSet	rest;

	if (!row.numbered)
		return;
	stock_find(t, item);
	lease_settle(t, item, &row);
	rest = row.free;
	if (t->pin != NULL && row.leased > 0 && mutation != CLOSE_FORGETS_RING)
		rest |= take_all(t, &row);
	row.closed = true;
	row.stock = 0;
	row.free = 0;
	row.withdrawn |= rest;
	row.supplied -= set_count(rest);
	t->work.supplied[item] -= set_count(rest);
	t->work.used[item] += set_count(rest);
	t->work.refunded[item] |= rest | row.owed;
	if (mutation != CLOSE_TELLS_TWICE)
		row.owed = 0;
	counts[CLOSES]++;
	write_row(t, item, &row, false);
	t->pin = NULL;
}
