/*
 * sale.c
 *		Purchases: src/modes.c and src/batch.c of the extension.
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

/* The first free numbers of the locked row; none of an item without. */
static NumberSet
row_numbers(const Txn *t, const ItemRow *row, int32 units)
{
	NumberSet	free = mutation == SELL_OLD_NUMBER && t->seen != 0 ?
		t->seen : row->free;

	return set_first(free, units);
}

/*
 * Take units from the locked row, and the rest from its lease.  The order is
 * to be none of the lease, so that what it has of it leaves the lease.
 */
Outcome
sale_decide(Txn *t, ItemRow *row, Taken *taken)
{
	int32		part = 0;
	NumberSet	numbers;

	if (row->stock < t->quantity)
		lease_settle(t, t->item, row);
	while (row->stock < t->quantity && part == 0)
	{
		uint64		generation;

		if (t->pin != NULL && row->leased > 0 && xact_has_room(t) &&
			xact_take(t, t->pin, t->quantity - row->stock, taken))
		{
			part = t->quantity - row->stock;
			break;
		}
		generation = read_generation(t);
		switch (lease_judge(t, row, generation))
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
	write_row(t, t->item, row, false);
	return SOLD;
}

static Outcome
buy_locked(Txn *t, int64 version)
{
	ItemRow		row = lock_row(t, t->item);
	Taken		taken;

	if (version >= 0 && row.version != version && mutation != SELL_OLD_NUMBER)
		return CONFLICT;
	if (sale_decide(t, &row, &taken) == SOLD_OUT)
		return SOLD_OUT;
	write_order(t, t->item, t->quantity, &taken);
	return SOLD;
}

static Outcome
buy_pessimistic(Txn *t)
{
	line_up(t, t->item);
	return buy_locked(t, -1);
}

static Outcome
buy_optimistic(Txn *t)
{
	for (;;)
	{
		uint64		generation = read_generation(t);
		ItemRow		row = peek(t, t->item);

		if (row.stock < t->quantity)
			switch (lease_judge(t, &row, generation))
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

/* WAIT_WITH_HOLD: what a holder must not do. */
static Outcome
buy_holding(Txn *t)
{
	Taken		taken;
	bool		took = t->pin != NULL && !t->block &&
		xact_take(t, t->pin, 1, &taken);

	(void) lock_row(t, t->item);
	if (took)
		xact_return(t, t->pin, &taken, 1);
	return buy_locked(t, -1);
}

/* The fence: the row must carry the lease of the units that are on hold. */
static bool
order_fenced(Txn *t, const Taken *taken)
{
	bool		passed;

	open_items(t);
	passed = mutation == NO_FENCE ||
		(t->pin->c.lease_id == taken->lease_id &&
		 read_row(t, t->item).lease_id == taken->lease_id);
	step(t, passed ? "fence" : "fence: stale");
	if (passed)
		write_order(t, t->item, t->quantity, taken);
	return passed;
}

/* The ring has no room for what the purchase needs: on in mode advisory. */
static Outcome
buy_on_row(Txn *t)
{
	counts[FULL_RINGS]++;
	return buy_pessimistic(t);
}

static Outcome
buy_cache(Txn *t)
{
	for (;;)
	{
		Taken		taken;

		if (!xact_take(t, t->pin, t->quantity, &taken))
		{
			if (!lease_obtain(t, &taken))
				return taken.full ? buy_on_row(t) : SOLD_OUT;
		}
		else if (t->pin->c.avail == 0 && !t->pin->refilling && one_in(2))
			top_up(t);
		if (order_fenced(t, &taken))
			return SOLD;
		counts[STALE]++;
		xact_return(t, t->pin, &taken, t->quantity);
		step(t, "return");
		if (peek(t, t->item).lease_id != taken.lease_id)
			stock_renew(t->pin, taken.lease_id);
		step(t, "renew");
	}
}

/* Read the row, make an entry or set right what it says. */
static void
check_row(Txn *t)
{
	uint64		generation = read_generation(t);
	ItemRow		row = peek(t, t->item);
	Entry	   *entry = t->pin;

	if (entry == NULL)
		stock_enter(t, t->item);
	else if (entry->c.generation == generation && !row.mine &&
			 (row.stock > 0 || counters_lost(&entry->c, &row)))
		entry->sold_out = false;
	step(t, "check row");
}

/* Rules and flag (src/buy.c); false: the flag says sold out. */
static bool
check_rules(Txn *t)
{
	bool		sold_out;

	stock_find(t, t->item);
	step(t, "find entry");
	if (t->pin == NULL || t->work.changed[t->item])
	{
		check_row(t);
		return true;
	}
	if (one_in(8))
		check_row(t);
	sold_out = t->pin->sold_out;
	step(t, "glance");
	return !sold_out;
}

void
begin_call(Txn *t, int item, int32 quantity)
{
	t->item = item;
	t->quantity = quantity;
	t->least = reach(t, item);
	t->turns = 0;
	t->seen = 0;
	t->calling = true;
}

/* Law: who is told "sold out" could not have had the units at some moment. */
void
end_call(Txn *t, bool sold_out)
{
	if (sold_out && t->least >= t->quantity)
		broken("sold out was said, and units could be had all the time",
			   t->item);
	counts[REFUSALS] += sold_out;
	t->calling = false;
	t->pin = NULL;
}

Outcome
buy(Txn *t, int item, int32 quantity)
{
	Outcome		outcome = SOLD_OUT;

	begin_call(t, item, quantity);
	if (check_rules(t))
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
				outcome = t->pin != NULL && xact_has_room(t) ?
					buy_cache(t) : buy_pessimistic(t);
				break;
		}
	end_call(t, outcome == SOLD_OUT);
	step(t, outcome == SOLD ? "sold" :
		 outcome == SOLD_OUT ? "sold out" : "conflict");
	return outcome;
}
