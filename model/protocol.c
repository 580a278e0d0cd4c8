/*
 * protocol.c
 *		The protocol of holds, leases and settles, step by step; see
 *		lease_model.c for who runs it.
 *
 * Each part stands for a source file of the extension.
 */
#include <string.h>

#include "model.h"

static int64 last_lease_id;


/*
 * The stock cache (src/stock.c)
 */

static void
next_generation(Entry *entry)
{
	entry->c.generation++;
	entry->sold_out = false;
}

static void
stock_start_lease(Entry *entry)
{
	counters_start_lease(&entry->c);
	next_generation(entry);
}

static void
stock_adjust(Entry *entry, int64 lease_id, int32 avail, int32 held)
{
	if (mutation == ADJUST_DEAD_LEASE)
		lease_id = entry->c.lease_id;
	if (counters_adjust(&entry->c, lease_id, avail, held))
		next_generation(entry);
}

static void
stock_renew(Entry *entry, int64 lease_id)
{
	if (entry->c.lease_id == lease_id)
		stock_start_lease(entry);
}

static bool
stock_close(Entry *entry)
{
	bool		closed = entry->c.held == 0 || mutation == CLOSE_HELD;

	if (closed)
		stock_start_lease(entry);
	return closed;
}

static StockVerdict
stock_judge(Entry *entry, uint64 generation, const ItemRow *row,
			int32 quantity, const StockOwn *own)
{
	StockVerdict verdict;
	ItemRow		seen = *row;

	if (mutation == JUDGE_WITHOUT_GENERATION)
		generation = entry->c.generation;
	if (mutation == FLAG_FROM_OWN_CHANGE)
		seen.mine = false;
	verdict = counters_judge(&entry->c, generation, &seen, quantity, own);
	if (mutation == JUDGE_WITHOUT_HOLDERS && verdict == STOCK_AWAIT)
		verdict = STOCK_OUT;
	if (verdict == STOCK_OUT && counters_all_gone(&entry->c, &seen))
		entry->sold_out = true;
	return verdict;
}

static bool
is_idle(const Entry *entry)
{
	return (counters_idle(&entry->c) || mutation == EVICT_HELD) &&
		(!entry->refilling || mutation == EVICT_REFILLING);
}

static void
evict(Entry *entry)
{
	for (int i = 0; i < ntxns; i++)
		if (txns[i].pin == entry && mutation != EVICT_PINNED)
			return;
	if (is_idle(entry))
		entry->live = false;
}

/* Find and pin the entry of an item, if it has one. */
static Entry *
stock_find(Txn *t, int item)
{
	t->pin = t->work.emptied ? NULL : entry_of(item);
	return t->pin;
}

/* The same, and make one if there is room. */
static Entry *
stock_enter(Txn *t, int item)
{
	if (stock_find(t, item) != NULL || t->work.emptied)
		return t->pin;
	for (int i = 0; i < nentries; i++)
	{
		Entry	   *entry = &entries[i];

		if (entry->live)
			evict(entry);
		if (entry->live)
			continue;
		entry->live = true;
		entry->item = item;
		entry->sold_out = entry->refilling = false;
		entry->c.avail = entry->c.held = 0;
		entry->c.lease_id = mutation == LEASE_ID_AGAIN ? 1000 :
			(last_lease_id += 1000);
		entry->c.generation++;
		t->pin = entry;
		break;
	}
	return t->pin;
}

static void
stock_changed(int item)
{
	Entry	   *entry = entry_of(item);

	if (entry != NULL && mutation != NO_ANNOUNCE)
		next_generation(entry);
}


/*
 * What a transaction has (src/xact.c)
 */

static Claim *
find_claim(Txn *t, Entry *entry, int level, int64 lease_id)
{
	for (int i = 0; i < t->nclaims; i++)
		if (t->claims[i].entry == entry && t->claims[i].level == level &&
			t->claims[i].lease_id == lease_id)
			return &t->claims[i];
	return NULL;
}

static Claim *
get_claim(Txn *t, Entry *entry, int64 lease_id)
{
	Claim	   *claim = find_claim(t, entry, t->level, lease_id);

	if (claim != NULL)
		return claim;
	t->wrote = true;
	claim = &t->claims[t->nclaims++];
	memset(claim, 0, sizeof(Claim));
	claim->entry = entry;
	claim->level = t->level;
	claim->xid = t->xid[t->level];
	claim->lease_id = lease_id;
	return claim;
}

static void
publish(Claim *claim)
{
	claim->shown = claim->hold > 0 || claim->credit > 0;
}

static void
drop_claim(Txn *t, Claim *claim)
{
	*claim = t->claims[--t->nclaims];
}

static bool
xact_has_room(const Txn *t)
{
	return t->nclaims <= CLAIMS - 3;
}

static int32
own_credit(const Txn *t, const Entry *entry, int64 lease_id)
{
	int32		credit = 0;

	for (int i = 0; i < t->nclaims; i++)
		if (t->claims[i].entry == entry && t->claims[i].lease_id == lease_id)
			credit += t->claims[i].credit;
	return credit;
}

static StockOwn
xact_own(const Txn *t, const Entry *entry)
{
	StockOwn	own = {.lease_id = entry->c.lease_id};

	own.credit = own_credit(t, entry, own.lease_id);
	own.held = own.credit;
	for (int i = 0; i < t->nclaims; i++)
		if (t->claims[i].entry == entry &&
			t->claims[i].lease_id == own.lease_id)
			own.held += t->claims[i].hold;
	return own;
}

/* Put from min to max units of the cache on hold; returns how many. */
static int32
take_between(Txn *t, Entry *entry, int32 min, int32 max, int64 *lease_id)
{
	int32		units;

	*lease_id = entry->c.lease_id;
	units = counters_take(&entry->c, min, max);
	if (units > 0)
	{
		get_claim(t, entry, *lease_id)->hold += units;
		step_on(t, "take");
		/* a level cannot end meanwhile: the claim is still there */
		publish(find_claim(t, entry, t->level, *lease_id));
		step(t, "publish");
	}
	return units;
}

/* Put quantity units on hold, from our own credit first. */
static bool
xact_take(Txn *t, Entry *entry, int32 quantity, int64 *lease_id)
{
	int32		drawn = own_credit(t, entry, entry->c.lease_id);
	Claim	   *claim;

	if (drawn == 0)
		return take_between(t, entry, quantity, quantity, lease_id) > 0;
	drawn = drawn < quantity ? drawn : quantity;
	*lease_id = entry->c.lease_id;
	if (drawn < quantity &&
		counters_take(&entry->c, quantity - drawn, quantity - drawn) == 0)
		return false;
	claim = get_claim(t, entry, *lease_id);
	claim->hold += quantity - drawn;
	claim->credit -= drawn;
	stock_adjust(entry, *lease_id, 0, -drawn);
	publish(claim);
	step(t, "take with credit");
	return true;
}

/* Give back what xact_take() took; what came from credit stays a hold. */
static void
xact_return(Txn *t, Entry *entry, int64 lease_id, int32 units)
{
	Claim	   *claim = find_claim(t, entry, t->level, lease_id);

	if (claim == NULL || claim->hold < units)
		raise_error(t);
	claim->hold -= units;
	stock_adjust(entry, lease_id, units, -units);
	publish(claim);
	if (claim->hold == 0 && claim->credit == 0 && !claim->refiller)
		drop_claim(t, claim);
}

static void
undo_claim(Txn *t, Claim *claim)
{
	stock_adjust(claim->entry, claim->lease_id, claim->hold,
				 -(claim->hold + claim->credit));
	if (claim->refiller)
		claim->entry->refilling = false;
	drop_claim(t, claim);
	step_on(t, "abort: give back");
}

static void
commit_claim(Txn *t, Claim *claim)
{
	int32		credit = mutation == CREDIT_BEFORE_COMMIT ? 0 : claim->credit;

	stock_adjust(claim->entry, claim->lease_id, credit,
				 -(claim->hold + claim->credit));
	if (claim->refiller)
		claim->entry->refilling = false;
	drop_claim(t, claim);
	step_on(t, "commit: release claim");
}


/*
 * The tables, as a transaction sees and changes them (src/ledger.c)
 */

/* Lock the tables against TRUNCATE to the end of the transaction. */
static void
open_items(Txn *t)
{
	await_lock(t, &table_lock, "wait for the table");
	t->reads_table = true;
}

static ItemRow
read_row(const Txn *t, int item)
{
	return t->work.row[item].mine ? t->work.row[item] : table[item];
}

static void
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

static ItemRow
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

static ItemRow
peek(Txn *t, int item)
{
	ItemRow		row;

	open_items(t);
	row = read_row(t, item);
	step(t, "read row");
	return row;
}

static void
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

static int32
sold_on_lease(const Txn *t, int item, int64 lease_id)
{
	int32		units = 0;

	for (int k = 0; k < norders; k++)
		units += count_order(&orders[k], item, lease_id);
	for (int k = 0; k < t->work.norders; k++)
		units += count_order(&t->work.orders[k], item, lease_id);
	return units;
}


/*
 * Units between row and cache (src/lease.c)
 */

/* Make row and cache agree; the row is locked. */
static void
lease_settle(Txn *t, int item, ItemRow *row)
{
	int32		left;

	if (t->pin == NULL)
		stock_find(t, item);
	if (t->pin != NULL && counters_stale(&t->pin->c, row))
	{
		counts[STALE]++;
		stock_renew(t->pin, t->pin->c.lease_id);
		step(t, "settle: renew");
	}
	if (row->leased == 0 ||
		(t->pin != NULL && row->lease_id == t->pin->c.lease_id))
		return;
	left = row->leased - sold_on_lease(t, item, row->lease_id);
	if (left < 0)
		broken("a settle finds more sold than leased", item);
	row->stock += left;
	row->leased = 0;
	row->lease_id = 0;
	counts[SETTLES]++;
	write_row(t, item, row, true);
}

/* Move units of the locked row to the cache; it gets them at commit. */
static void
lease_units(Txn *t, int item, ItemRow *row, int32 units)
{
	Entry	   *entry = t->pin;
	int64		lease_id = entry->c.lease_id;
	Claim	   *claim;

	if (row->leased > 0 && row->lease_id != lease_id)
		broken("a refill meets another lease", item);
	row->stock -= units;
	row->leased += units;
	row->lease_id = lease_id;
	write_row(t, item, row, false);
	claim = get_claim(t, entry, lease_id);
	if (mutation == CREDIT_BEFORE_COMMIT)
		stock_adjust(entry, lease_id, units, 0);
	else
	{
		claim->credit += units;
		stock_adjust(entry, lease_id, 0, units);
	}
	publish(claim);
	step(t, "credit");
}

static bool
refill(Txn *t, int64 *lease_id)
{
	ItemRow		row = lock_row(t, t->item);
	int32		missing;

	lease_settle(t, t->item, &row);
	missing = t->quantity - xact_own(t, t->pin).credit - t->pin->c.avail;
	step(t, "what is missing");
	if (missing > row.stock)
		return false;
	if (missing > 0)
	{
		int32		units = missing > LEASE_UNITS ? missing : LEASE_UNITS;

		lease_units(t, t->item, &row, units < row.stock ? units : row.stock);
	}
	return xact_take(t, t->pin, t->quantity, lease_id);
}

/* Become the refiller.  Others look at the lock for a moment only. */
static bool
start_refill(Txn *t, bool may_wait)
{
	if (may_wait)
		take_lock(t, &roles[t->item], "wait for the role");
	else if (one_in(8) || !try_lock(t, &roles[t->item]))
		return false;
	t->pin->refilling = true;
	get_claim(t, t->pin, t->pin->c.lease_id)->refiller = true;
	step(t, "start refill");
	return true;
}

static void
end_refill(Txn *t)
{
	for (int i = 0; i < t->nclaims; i++)
	{
		Claim	   *claim = &t->claims[i];

		if (claim->entry != t->pin || claim->level != t->level ||
			!claim->refiller)
			continue;
		claim->refiller = false;
		t->pin->refilling = false;
		if (claim->hold == 0 && claim->credit == 0)
			drop_claim(t, claim);
		break;
	}
	step(t, "end refill");
	if (roles[t->item].owner == t->id && roles[t->item].level == t->level)
		roles[t->item].owner = NOBODY;
}

/* Has it the row?  If nobody has, and it has an xid, it has it now. */
static bool
owns_row(Txn *t, int item)
{
	if (row_locks[item].owner == t->id)
		return true;
	if (!t->wrote)
		return false;
	open_items(t);
	return try_lock(t, &row_locks[item]);
}

static void
line_up(Txn *t, int item)
{
	if (owns_row(t, item))
		return;
	take_lock(t, &lines[item], "wait in line");
	step(t, "line up");
}

static bool
refill_in_role(Txn *t, int64 *lease_id)
{
	bool		done = t->pin->c.avail < t->quantity && refill(t, lease_id);

	if (!done)
		end_refill(t);
	return done;
}

static bool
refill_in_turn(Txn *t, int64 *lease_id)
{
	if (row_locks[t->item].owner == t->id)
		return refill(t, lease_id);
	if (start_refill(t, false))
		return refill_in_role(t, lease_id);
	if (owns_row(t, t->item))
		return refill(t, lease_id);
	if (t->pin->refilling)
	{
		await_lock(t, &roles[t->item], "wait for the refiller");
		return false;
	}
	(void) start_refill(t, true);
	return refill_in_role(t, lease_id);
}

/* Wait for a transaction that holds units; it may not show yet. */
static void
await_holder(Txn *t)
{
	for (int i = 0; i < ntxns; i++)
		for (int k = 0; i != t->id && k < txns[i].nclaims; k++)
		{
			Claim	   *claim = &txns[i].claims[k];

			if (claim->entry != t->pin || !claim->shown)
				continue;
			t->wait_xid = claim->xid;
			detect_deadlock(t);
			step(t, "wait for a holder");
			stop_waiting(t);
			return;
		}
	step(t, "look for a holder");
}

static StockVerdict
lease_judge(Txn *t, const ItemRow *row, uint64 generation)
{
	StockVerdict verdict;
	StockOwn	own;

	if (t->pin == NULL)
		return row->leased > 0 ? STOCK_ON_ROW : STOCK_OUT;
	own = xact_own(t, t->pin);
	step(t, "what is our own");
	verdict = stock_judge(t->pin, generation, row, t->quantity, &own);
	step(t, "judge");
	return verdict;
}

static uint64
read_generation(Txn *t)
{
	uint64		generation = t->pin != NULL ? t->pin->c.generation : 0;

	step(t, "generation");
	return generation;
}

/* Put units on hold by whatever it takes; false: sold out. */
static bool
lease_obtain(Txn *t, int64 *lease_id)
{
	for (;;)
	{
		uint64		generation = read_generation(t);
		ItemRow		row;

		if (xact_take(t, t->pin, t->quantity, lease_id))
			return true;
		row = peek(t, t->item);
		switch (lease_judge(t, &row, generation))
		{
			case STOCK_AGAIN:
				break;
			case STOCK_AWAIT:
				await_holder(t);
				break;
			case STOCK_OUT:
				return false;
			case STOCK_ON_ROW:
				if (refill_in_turn(t, lease_id))
					return true;
				break;
		}
	}
}

/* Lease more, if that costs nobody a wait. */
static void
top_up(Txn *t)
{
	ItemRow		row;
	bool		leased = false;

	if (t->block || !start_refill(t, false))
		return;
	open_items(t);
	if (try_lock(t, &row_locks[t->item]))
	{
		row = read_row(t, t->item);
		step(t, "lock row");
		leased = row.stock > 0 && row.lease_id == t->pin->c.lease_id;
		if (leased)
			lease_units(t, t->item, &row,
						row.stock < LEASE_UNITS ? row.stock : LEASE_UNITS);
	}
	if (!leased)
		end_refill(t);
}


/*
 * Purchases (src/modes.c, src/batch.c)
 */

typedef enum Outcome
{
	SOLD, SOLD_OUT, CONFLICT
} Outcome;

/* Take units from the locked row, and the rest from its lease. */
static Outcome
sale_decide(Txn *t, ItemRow *row)
{
	int32		part = 0;
	int64		lease_id;

	if (row->stock < t->quantity)
		lease_settle(t, t->item, row);
	while (row->stock < t->quantity && part == 0)
	{
		uint64		generation;

		if (t->pin != NULL && row->leased > 0 && xact_has_room(t) &&
			xact_take(t, t->pin, t->quantity - row->stock, &lease_id))
		{
			part = t->quantity - row->stock;
			break;
		}
		generation = read_generation(t);
		switch (lease_judge(t, row, generation))
		{
			case STOCK_OUT:
				return SOLD_OUT;
			case STOCK_AWAIT:
				await_holder(t);
				break;
			case STOCK_AGAIN:
			case STOCK_ON_ROW:
				break;
		}
	}
	row->stock -= t->quantity - part;
	row->leased -= part;
	write_row(t, t->item, row, false);
	return SOLD;
}

static Outcome
buy_locked(Txn *t, int64 version)
{
	ItemRow		row = lock_row(t, t->item);

	if (version >= 0 && row.version != version)
		return CONFLICT;
	if (sale_decide(t, &row) == SOLD_OUT)
		return SOLD_OUT;
	write_order(t, t->item, t->quantity, 0);
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
				case STOCK_OUT:
					return SOLD_OUT;
				case STOCK_AWAIT:
					await_holder(t);
					continue;
				case STOCK_AGAIN:
				case STOCK_ON_ROW:
					break;
			}
		return buy_locked(t, row.version);
	}
}

/* WAIT_WITH_HOLD: what a holder must not do. */
static Outcome
buy_holding(Txn *t)
{
	int64		lease_id;
	bool		took = t->pin != NULL && !t->block &&
		xact_take(t, t->pin, 1, &lease_id);

	(void) lock_row(t, t->item);
	if (took)
		xact_return(t, t->pin, lease_id, 1);
	return buy_locked(t, -1);
}

/* The fence: the row must carry the lease of the units that are on hold. */
static bool
order_fenced(Txn *t, int64 lease_id)
{
	bool		passed;

	open_items(t);
	passed = mutation == NO_FENCE ||
		(t->pin->c.lease_id == lease_id &&
		 read_row(t, t->item).lease_id == lease_id);
	step(t, passed ? "fence" : "fence: stale");
	if (passed)
		write_order(t, t->item, t->quantity, lease_id);
	return passed;
}

static Outcome
buy_cache(Txn *t)
{
	for (;;)
	{
		int64		lease_id;

		if (!xact_take(t, t->pin, t->quantity, &lease_id))
		{
			if (!lease_obtain(t, &lease_id))
				return SOLD_OUT;
		}
		else if (t->pin->c.avail == 0 && !t->pin->refilling && one_in(2))
			top_up(t);
		if (order_fenced(t, lease_id))
			return SOLD;
		counts[STALE]++;
		xact_return(t, t->pin, lease_id, t->quantity);
		step(t, "return");
		if (peek(t, t->item).lease_id != lease_id)
			stock_renew(t->pin, lease_id);
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

static void
begin_call(Txn *t, int item, int32 quantity)
{
	t->item = item;
	t->quantity = quantity;
	t->least = reach(t, item);
	t->calling = true;
}

/* Law: who is told "sold out" could not have had the units at some moment. */
static void
end_call(Txn *t, bool sold_out)
{
	if (sold_out && t->least >= t->quantity)
		broken("sold out was said, and units could be had all the time",
			   t->item);
	counts[REFUSALS] += sold_out;
	t->calling = false;
	t->pin = NULL;
}

static Outcome
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


/*
 * What else happens to items and orders
 */

static void
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
static void
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
static void
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
static void
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
static void
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
static void
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


/*
 * Transactions
 */

static void
begin_level(Txn *t, int level)
{
	if (nxids == XIDS)
		broken("the model has too few xids for a round", t->item);
	t->level = level;
	t->xid[level] = nxids;
	xids[nxids].txn = t->id;
	xids[nxids].level = level;
	nxids++;
}

/* Do something to all locks of a kind that a level and those inside it have. */
static void
for_locks(Txn *t, Lock *locks, int n, int level, bool release)
{
	for (int i = 0; i < n; i++)
		if (locks[i].owner == t->id && locks[i].level >= level)
		{
			if (release)
				locks[i].owner = NOBODY;
			else
				locks[i].level = level - 1;
		}
}

/* Row locks end as soon as others see that the transaction has ended. */
static void
for_row_locks(Txn *t, int level, bool release)
{
	for_locks(t, row_locks, ITEMS, level, release);
	for_locks(t, order_locks, norders, level, release);
}

/* Heavyweight locks, those on xids among them, end after the callbacks. */
static void
for_heavy_locks(Txn *t, int level, bool release)
{
	for_locks(t, lines, ITEMS, level, release);
	for_locks(t, roles, ITEMS, level, release);
	for_locks(t, &table_lock, 1, level, release);
	for (int i = 1; i < nxids; i++)
		if (xids[i].txn == t->id && xids[i].level >= level)
			xids[i].level = release ? -1 : level - 1;
}

static void
end_transaction(Txn *t)
{
	for_heavy_locks(t, 0, true);
	reset(t);
}

static void
rollback(Txn *t)
{
	for_row_locks(t, 0, true);
	memset(&t->work, 0, sizeof(Work));
	step_on(t, "abort");
	while (t->nclaims > 0)
		undo_claim(t, &t->claims[t->nclaims - 1]);
	end_transaction(t);
}

static void
savepoint(Txn *t)
{
	t->saved[t->level] = t->work;
	begin_level(t, t->level + 1);
	step(t, "savepoint");
}

static void
rollback_level(Txn *t)
{
	int			level = t->level;

	for_row_locks(t, level, true);
	t->work = t->saved[level - 1];
	step_on(t, "rollback to savepoint");
	for (int i = t->nclaims - 1; i >= 0; i--)
		if (t->claims[i].level >= level)
		{
			if (mutation == SAVEPOINT_KEEPS_HOLD)
				drop_claim(t, &t->claims[i]);
			else
				undo_claim(t, &t->claims[i]);
		}
	for_heavy_locks(t, level, true);
	t->pin = NULL;
	t->level--;
}

static void
lift_claim(Txn *t, Claim *claim)
{
	Claim	   *outer = find_claim(t, claim->entry, claim->level - 1,
								   claim->lease_id);

	if (outer == NULL)
	{
		claim->level--;
		return;
	}
	outer->hold += claim->hold;
	outer->credit += claim->credit;
	outer->refiller |= claim->refiller;
	publish(outer);
	drop_claim(t, claim);
}

static void
release_level(Txn *t)
{
	for (int i = t->nclaims - 1; i >= 0; i--)
		if (i < t->nclaims && t->claims[i].level == t->level)
			lift_claim(t, &t->claims[i]);
	for_row_locks(t, t->level, false);
	for_heavy_locks(t, t->level, false);
	t->level--;
	step(t, "release savepoint");
}

/* What the transaction has written is the table's now, all at once. */
static void
apply(Txn *t)
{
	const Work *work = &t->work;

	if (work->emptied)
		norders = 0;
	for (int i = 0; i < ITEMS; i++)
	{
		supplied[i] = (work->emptied ? 0 : supplied[i]) + work->supplied[i];
		if (work->row[i].mine)
			table[i] = work->row[i];
		table[i].mine = false;
	}
	for (int i = 0; i < work->norders; i++)
		orders[norders++] = work->orders[i];
	for (int i = 0; i < work->nmoves; i++)
		orders[work->moves[i].order].live = work->moves[i].live;
	t->visible = true;
	for_row_locks(t, 0, true);
	look_at_tables();
	note_reach();
}

static void
announce(Txn *t)
{
	for (int i = 0; i < ITEMS; i++)
		if (t->work.changed[i])
		{
			stock_changed(i);
			step_on(t, "commit: announce");
		}
	for (int i = 0; t->work.emptied && i < nentries; i++)
		if (entries[i].live)
		{
			stock_start_lease(&entries[i]);
			evict(&entries[i]);
		}
	t->work.emptied = false;
}

static void
release_claims(Txn *t)
{
	while (t->nclaims > 0)
		commit_claim(t, &t->claims[t->nclaims - 1]);
}

/* The order of steps at COMMIT: visible, announced, given up, unlocked. */
static void
commit(Txn *t)
{
	if (mutation == RELEASE_BEFORE_COMMIT)
		release_claims(t);
	apply(t);
	step_on(t, "commit: visible");
	if (mutation == RELEASE_BEFORE_ANNOUNCE)
		release_claims(t);
	announce(t);
	release_claims(t);
	end_transaction(t);
}

static void
operation(Txn *t)
{
	int			item = below(4) == 0;
	int			what = below(t->block ? 32 : 24);

	t->item = item;
	if (what >= 24)
	{
		if (t->level == 0 || (what < 28 && t->level < LEVELS - 1))
			savepoint(t);
		else if (what % 2 == 0)
			release_level(t);
		else
			rollback_level(t);
	}
	else if (what >= 22)
		recall(t, item);
	else if (what >= 21)
		prewarm(t, item);
	else if (what >= 20)
		restock(t, item);
	else if (what >= 19)
	{
		if (one_in(2))
			truncate_tables(t);
	}
	else if (what >= 16 && norders > 0)
	{
		/* orders of a table that is being truncated are out of reach */
		open_items(t);
		if (norders == 0)
			return;
		if (what == 16)
			pay_late(t, below(norders));
		else
			end_order(t, below(norders), what == 17);
	}
	else if (norders < ORDERS - MAX_TXNS * 8)
		(void) buy(t, item, 1 + one_in(5));
}

/* At the end of a round: buy what is left, one by one. */
static void
drain(Txn *t)
{
	for (int i = 0; i < ITEMS; i++)
		while (buy(t, i, 1) != SOLD_OUT)
		{
			commit(t);
			t->running = true;
			begin_level(t, 0);
		}
}

static void
transaction(Txn *t)
{
	reset(t);
	t->running = true;
	t->block = one_in(3);
	t->ops = t->block ? 2 + below(4) : 1;
	begin_level(t, 0);
	step_on(t, "begin");
	if (_setjmp(t->error) != 0)
	{
		t->calling = false;
		t->pin = NULL;
		if (t->level == 0 || one_in(2))
		{
			rollback(t);
			return;
		}
		rollback_level(t);
	}
	if (draining)
		drain(t);
	else
		while (t->ops-- > 0)
			operation(t);
	if (!draining && one_in(5))
		rollback(t);
	else
		commit(t);
}

void
run_transactions(Txn *t)
{
	(void) _setjmp(t->base);
	for (;;)
	{
		while (t->left > 0)
		{
			t->left--;
			transaction(t);
		}
		yield(t);
	}
}
