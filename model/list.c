/*
 * list.c
 *		Calls for many: lists of purchases in src/sale/modes.c of the
 *		extension, and a list for each item in src/api/buy.c.
 */
#include "chance.h"
#include "holds.h"
#include "laws.h"
#include "lease.h"
#include "list.h"
#include "sale.h"
#include "steps.h"
#include "tables.h"
#include "world.h"

#define LENGTH	3

/* Purchases of one item, in their order. */
typedef struct PurchaseList
{
	int			n;
	int32		quantity[LENGTH];
	bool		sold[LENGTH];
} PurchaseList;

static int32
wanted(const PurchaseList *list)
{
	int32		units = 0;

	for (int i = 0; i < list->n; i++)
		units += list->quantity[i];
	return units;
}

/*
 * Sell the units to the purchases that they are enough for, each in turn;
 * returns how many units these want.
 */
static int32
serve(PurchaseList *list, int32 units)
{
	int32		served = 0;

	for (int i = 0; i < list->n; i++)
	{
		list->sold[i] = list->quantity[i] <= units - served;
		if (list->sold[i])
			served += list->quantity[i];
	}
	return served;
}

/*
 * Law: a purchase is sold out only if, at some moment of the call, fewer units
 * were in reach than it and the purchases sold before it want.
 */
static void
check_refusals(const Txn *t, const PurchaseList *list)
{
	int32		units = 0;

	for (int i = 0; i < list->n; i++)
		if (list->sold[i])
			units += list->quantity[i];
		else if (t->least >= units + list->quantity[i])
			broken("sold out in a list, but the units were always in reach",
				   t->item);
		else
			counts[REFUSALS]++;
}

/* Decide each purchase on the locked row. */
static void
buy_list_locked(Txn *t, PurchaseList *list)
{
	ItemRow		row;

	item_lock_acquire(t, t->item);
	row = item_lock_row(t, t->item);
	for (int i = 0; i < list->n; i++)
	{
		Taken		taken;

		t->quantity = list->quantity[i];
		t->least = reach(t, t->item);
		list->sold[i] = decide(t, &row, &taken) == SOLD;
		if (list->sold[i])
			orders_insert(t, t->item, t->quantity, &taken);
		else if (t->least >= t->quantity)
			broken("sold out in a list, but the units were in reach", t->item);
	}
}

/*
 * The units that are left for a list that wants more; -1 if others hold units,
 * or row or cache have changed since they were read.
 */
static int32
units_left(Txn *t)
{
	uint64		generation = await_generation(t);
	ItemRow		row = item_read_latest(t, t->item);
	OwnUnits	own = hold_own_units(t, t->pin);
	int32		left;

	step(t, "own units");
	left = row.stock + t->pin->c.avail + own.credit;
	if (mutation != LIST_WITHOUT_PROOF &&
		counters_judge(&t->pin->c, generation, &row, t->quantity, &own) != UNITS_SOLD_OUT)
		left = -1;
	step(t, "units left");
	return left;
}

/* The mutation LIST_WAITS: wait for some units with the others on hold. */
static void
hold_and_wait(Txn *t)
{
	int32		avail = t->pin->c.avail;
	Taken		some;
	Taken		rest;

	if (t->block || avail == 0 || avail >= t->quantity ||
		!hold_take(t, t->pin, avail, &some))
		return;
	t->quantity -= avail;
	if (refill_obtain(t, &rest))
		hold_return(t, t->pin, &rest, t->quantity);
	hold_return(t, t->pin, &some, avail);
	t->quantity += avail;
}

/*
 * Put units on hold for those purchases of the list that there are units for;
 * returns how many units.  None with taken->full: the ring has no room.
 */
static int32
take_for_list(Txn *t, PurchaseList *list, Taken *taken)
{
	for (;;)
	{
		int32		left;

		t->quantity = serve(list, wanted(list));
		if (mutation == LIST_WAITS)
			hold_and_wait(t);
		if (refill_obtain(t, taken))
			return t->quantity;
		if (taken->full)
			return 0;
		left = units_left(t);
		if (left < 0)
			continue;
		t->quantity = serve(list, left);
		if (t->quantity == 0 || refill_obtain(t, taken))
			return t->quantity;
		if (taken->full)
			return 0;
	}
}

/* Buy with units of the cache; false if the ring has no room for the numbers. */
static bool
buy_list_cache(Txn *t, PurchaseList *list)
{
	for (;;)
	{
		Taken		taken;

		t->quantity = take_for_list(t, list, &taken);
		if (t->quantity == 0)
			return !taken.full;
		if (orders_insert_fenced(t, &taken))
			return true;
		drop_stale_lease(t, &taken);
	}
}

/* Buy a list of purchases of one item. */
static void
buy_list(Txn *t, int item)
{
	PurchaseList		list = {.n = 2 + one_in(2)};

	for (int i = 0; i < list.n; i++)
		list.quantity[i] = 1;
	list.quantity[below(list.n)] += one_in(2);
	call_begin(t, item, wanted(&list));
	if (!rules_check(t))
		check_refusals(t, &list);
	else if (t->pin != NULL && hold_has_slot(t) && !one_in(3) &&
			 buy_list_cache(t, &list))
		check_refusals(t, &list);
	else
		buy_list_locked(t, &list);
	call_end(t, false);
	counts[LISTS]++;
	step(t, "list");
}

/* A list for each item, in ascending order of the items. */
void
buy_lists(Txn *t)
{
	bool		descending = mutation == ITEMS_UNSORTED && one_in(2);

	for (int i = 0; i < ITEMS; i++)
		buy_list(t, descending ? ITEMS - 1 - i : i);
}
