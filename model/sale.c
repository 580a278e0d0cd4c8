/*
 * sale.c
 *		Purchases: src/sale/rules.c, modes.c and decide.c of the extension.
 */
#include "cache.h"
#include "chance.h"
#include "holds.h"
#include "laws.h"
#include "lease.h"
#include "sale.h"
#include "sets.h"
#include "steps.h"
#include "tables.h"
#include "world.h"

/* The lowest free numbers of the locked row; none if it is not numbered. */
static NumberSet
row_numbers(const Txn *t, const ItemRow *row, int32 units)
{
	NumberSet	free = mutation == SELL_OLD_NUMBER && t->seen != 0 ?
		t->seen : row->free;

	return set_first(free, units);
}

/*
 * Take units from the locked row, and from its lease what the row lacks.  The
 * order will not belong to the lease, so the lease shrinks by the latter.
 */
Outcome
decide(Txn *t, ItemRow *row, Taken *taken)
{
	int32		part = 0;
	NumberSet	numbers;

	if (row->stock < t->quantity)
		settle(t, t->item, row);
	while (row->stock < t->quantity && part == 0)
	{
		uint64		generation;

		if (t->pin != NULL && row->leased > 0 && hold_has_slot(t) &&
			hold_take(t, t->pin, t->quantity - row->stock, taken))
		{
			part = t->quantity - row->stock;
			break;
		}
		generation = await_generation(t);
		switch (await_judge(t, row, generation))
		{
			case UNITS_SOLD_OUT:
				return SOLD_OUT;
			case UNITS_WAIT:
				await_holder(t);
				break;
			case UNITS_RETRY:
			case UNITS_REFILL:
				break;
		}
	}
	if (part == 0)
		taken->numbers = 0;
	numbers = row_numbers(t, row, t->quantity - part);
	taken->lease_id = 0;
	taken->numbers |= numbers;
	row->free &= ~numbers;
	row->stock -= t->quantity - part;
	row->leased -= part;
	item_write(t, t->item, row, false);
	return SOLD;
}

/* Buy with the row locked; conflict if version is given and not the row's. */
static Outcome
buy_locked(Txn *t, int64 version)
{
	ItemRow		row = item_lock_row(t, t->item);
	Taken		taken;

	if (version >= 0 && row.version != version && mutation != SELL_OLD_NUMBER)
		return CONFLICT;
	if (decide(t, &row, &taken) == SOLD_OUT)
		return SOLD_OUT;
	orders_insert(t, t->item, t->quantity, &taken);
	return SOLD;
}

static Outcome
buy_pessimistic(Txn *t)
{
	item_lock_acquire(t, t->item);
	return buy_locked(t, -1);
}

static Outcome
buy_optimistic(Txn *t)
{
	for (;;)
	{
		uint64		generation = await_generation(t);
		ItemRow		row = item_read_latest(t, t->item);

		if (row.stock < t->quantity)
			switch (await_judge(t, &row, generation))
			{
				case UNITS_SOLD_OUT:
					return SOLD_OUT;
				case UNITS_WAIT:
					await_holder(t);
					continue;
				case UNITS_RETRY:
				case UNITS_REFILL:
					break;
			}
		t->seen = row.free;
		return buy_locked(t, row.version);
	}
}

/* The mutation WAIT_WITH_HOLD: wait for the row with units on hold. */
static Outcome
buy_holding(Txn *t)
{
	Taken		taken;
	bool		took = t->pin != NULL && !t->block &&
		hold_take(t, t->pin, 1, &taken);

	(void) item_lock_row(t, t->item);
	if (took)
		hold_return(t, t->pin, &taken, 1);
	return buy_locked(t, -1);
}

/*
 * Insert the order if the row still has the lease of the units on hold; false
 * if not.
 */
bool
orders_insert_fenced(Txn *t, const Taken *taken)
{
	bool		passed;

	relation_lock_items(t);
	passed = mutation == NO_FENCE ||
		(t->pin->c.lease_id == taken->lease_id &&
		 item_row_seen(t, t->item).lease_id == taken->lease_id);
	step(t, passed ? "fence" : "fence: stale");
	if (passed)
		orders_insert(t, t->item, t->quantity, taken);
	return passed;
}

/* The fence has stopped the order: return the units, renew the lease. */
void
drop_stale_lease(Txn *t, const Taken *taken)
{
	counts[STALE]++;
	hold_return(t, t->pin, taken, t->quantity);
	step(t, "return");
	if (item_read_latest(t, t->item).lease_id != taken->lease_id)
		cache_renew_lease(t->pin, taken->lease_id);
	step(t, "renew");
}

/* Buy from the row, because the ring has no room for the numbers needed. */
static Outcome
buy_on_row(Txn *t)
{
	counts[FULL_RINGS]++;
	return buy_pessimistic(t);
}

/* Mode cache: units from the cache, order fenced by the lease. */
static Outcome
buy_cache(Txn *t)
{
	for (;;)
	{
		Taken		taken;

		if (!hold_take(t, t->pin, t->quantity, &taken))
		{
			if (!refill_obtain(t, &taken))
				return taken.full ? buy_on_row(t) : SOLD_OUT;
		}
		else if (t->pin->c.avail == 0 && !t->pin->refilling && one_in(2))
			refill_ahead(t);
		if (orders_insert_fenced(t, &taken))
			return SOLD;
		drop_stale_lease(t, &taken);
	}
}

/* Read the row; make an entry, or clear a sold-out flag that is stale. */
static void
check_row(Txn *t)
{
	uint64		generation = await_generation(t);
	ItemRow		row = item_read_latest(t, t->item);
	Entry	   *entry = t->pin;

	if (entry == NULL)
		entry_enter(t, t->item);
	else if (entry->c.generation == generation && !row.mine &&
			 (row.stock > 0 || counters_lost(&entry->c, &row)))
		entry->sold_out = false;
	step(t, "check row");
}

/* Find the entry and check its sold-out flag; false: sold out. */
bool
rules_check(Txn *t)
{
	bool		sold_out;

	entry_find(t, t->item);
	step(t, "find entry");
	if (t->pin == NULL || t->work.changed[t->item])
	{
		check_row(t);
		return true;
	}
	if (one_in(8))
		check_row(t);
	sold_out = t->pin->sold_out;
	step(t, "read rules");
	return !sold_out;
}

/*
 * Start a call; from now on, note_reach() records the least reach during it.
 */
void
call_begin(Txn *t, int item, int32 quantity)
{
	t->item = item;
	t->quantity = quantity;
	t->least = reach(t, item);
	t->turns = 0;
	t->seen = 0;
	t->calling = true;
}

/*
 * Law: "sold out" is answered only if the units were out of reach at some
 * moment of the call.
 */
void
call_end(Txn *t, bool sold_out)
{
	if (sold_out && t->least >= t->quantity)
		broken("sold out, but the units were always in reach", t->item);
	counts[REFUSALS] += sold_out;
	t->calling = false;
	t->pin = NULL;
}

/* One purchase in a random mode. */
Outcome
buy(Txn *t, int item, int32 quantity)
{
	Outcome		outcome = SOLD_OUT;

	call_begin(t, item, quantity);
	if (rules_check(t))
		switch (below(4))
		{
			case 0:
				outcome = buy_pessimistic(t);
				break;
			case 1:
				outcome = mutation == WAIT_WITH_HOLD ? buy_holding(t) :
					buy_optimistic(t);
				break;
			default:
				outcome = t->pin != NULL && hold_has_slot(t) ?
					buy_cache(t) : buy_pessimistic(t);
				break;
		}
	call_end(t, outcome == SOLD_OUT);
	step(t, outcome == SOLD ? "sold" :
		 outcome == SOLD_OUT ? "sold out" : "conflict");
	return outcome;
}
