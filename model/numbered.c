/*
 * numbered.c
 *		Making and withdrawing the numbers of an item.  The extension has no
 *		numbered items yet.
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

/* Return a new item, at random numbered or not, with fewer than most units. */
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

/*
 * Add new numbers to the locked row of a numbered item; false if they would be
 * too many.
 */
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

/* Forget all orders and what was done with numbers, as TRUNCATE does. */
void
forget_tables(void)
{
	norders = 0;
	memset(supplied, 0, sizeof(supplied));
	memset(told, 0, sizeof(told));
	memset(refunded, 0, sizeof(refunded));
	memset(archived, 0, sizeof(archived));
}

/*
 * Write off the units of a live or burnt order that is archived, and withdraw
 * its number.
 */
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

/*
 * Take all units of the lease, and wait until no other transaction holds any.
 * Returns their numbers.
 */
static NumberSet
take_all(Txn *t, ItemRow *row)
{
	NumberSet	numbers = 0;
	Taken		taken;

	for (;;)
	{
		OwnUnits	own = hold_own_units(t, t->pin);

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
		hold_take_credit(t, t->pin, &taken) > 0)
		numbers |= taken.numbers;
	row->leased -= set_count(numbers);
	return numbers;
}

/*
 * Withdraw all unsold numbers and report their amounts, with those of the
 * numbers returned since the last close.  The numbers taken from the ring stay
 * on hold until the transaction ends: if it aborts, they are on sale again.
 */
void
item_close(Txn *t, int item)
{
	ItemRow		row = item_lock_row(t, item);
	NumberSet	rest;

	if (!row.numbered)
		return;
	entry_find(t, item);
	settle(t, item, &row);
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
	item_write(t, item, &row, false);
	t->pin = NULL;
}
