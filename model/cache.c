/*
 * cache.c
 *		The entries of the stock cache: src/stock.c of the extension.
 */
#include "cache.h"
#include "chance.h"
#include "laws.h"
#include "world.h"

static int64 last_lease_id;

static void
next_generation(Entry *entry)
{
	entry->c.generation++;
	entry->sold_out = false;
}

void
stock_start_lease(Entry *entry)
{
	counters_start_lease(&entry->c);
	next_generation(entry);
}

void
stock_adjust(Entry *entry, int64 lease_id, int32 avail, int32 held)
{
	if (mutation == ADJUST_DEAD_LEASE)
		lease_id = entry->c.lease_id;
	if (counters_adjust(&entry->c, lease_id, avail, held))
		next_generation(entry);
}

/* The ring alone; the caller moves the counters in the same step. */
static bool
has_ring(const Entry *entry, int64 lease_id, int32 n)
{
	if (n > NUMBERS_RING)
		broken("more numbers come into a ring than it has places",
			   entry->item);
	return n > 0 &&
		(entry->c.lease_id == lease_id || mutation == ADJUST_DEAD_LEASE);
}

/* Numbers that were taken are on sale again, before all others. */
void
stock_return_numbers(Entry *entry, int64 lease_id, const int32 *numbers,
					 int32 n)
{
	int32		wrong;

	if (!has_ring(entry, lease_id, n))
		return;
	ring_return(&entry->ring, numbers, n);
	wrong = numbers[0] % NUMBERS + 1;
	if (mutation == RETURN_WRONG_NUMBER)
		entry->ring.numbers[entry->ring.head] = wrong;
}

/* Numbers of a refill are on sale, behind all others. */
void
stock_add_numbers(Entry *entry, int64 lease_id, const int32 *numbers, int32 n)
{
	if (has_ring(entry, lease_id, n))
		ring_refill(&entry->ring,
					mutation == REFILL_OVERWRITES ? 0 : entry->c.avail,
					numbers, n);
}

void
stock_renew(Entry *entry, int64 lease_id)
{
	if (entry->c.lease_id == lease_id)
		stock_start_lease(entry);
}

bool
stock_close(Entry *entry)
{
	bool		closed = entry->c.held == 0 || mutation == CLOSE_HELD;

	if (closed)
		stock_start_lease(entry);
	return closed;
}

UnitsVerdict
stock_judge(Entry *entry, uint64 generation, const ItemRow *row,
			int32 quantity, const OwnUnits *own)
{
	UnitsVerdict verdict;
	ItemRow		seen = *row;

	if (mutation == JUDGE_WITHOUT_GENERATION)
		generation = entry->c.generation;
	if (mutation == FLAG_FROM_OWN_CHANGE)
		seen.mine = false;
	verdict = counters_judge(&entry->c, generation, &seen, quantity, own);
	if (mutation == JUDGE_WITHOUT_HOLDERS && verdict == UNITS_WAIT)
		verdict = UNITS_SOLD_OUT;
	if (verdict == UNITS_SOLD_OUT && counters_all_gone(&entry->c, &seen))
		entry->sold_out = true;
	return verdict;
}

static bool
is_idle(const Entry *entry)
{
	return (counters_idle(&entry->c) || mutation == EVICT_HELD) &&
		(!entry->refilling || mutation == EVICT_REFILLING);
}

void
evict(Entry *entry)
{
	for (int i = 0; i < ntxns; i++)
		if (txns[i].pin == entry && mutation != EVICT_PINNED)
			return;
	if (is_idle(entry))
		entry->live = false;
}

/* Find and pin the entry of an item, if it has one. */
Entry *
stock_find(Txn *t, int item)
{
	t->pin = t->work.emptied ? NULL : entry_of(item);
	return t->pin;
}

/* The same, and make one if there is room. */
Entry *
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
		entry->ring.head = below(NUMBERS_RING);
		t->pin = entry;
		break;
	}
	return t->pin;
}

void
stock_changed(int item)
{
	Entry	   *entry = entry_of(item);

	if (entry != NULL && mutation != NO_ANNOUNCE)
		next_generation(entry);
}
