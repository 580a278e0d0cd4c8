/*
 * cache.c
 *		The entries of the stock cache: src/shmem/cache.c and
 *		cache_counters.c, and src/xact/entry.c of the extension.
 *
 * Each function is what the extension does under one spinlock or one LWLock;
 * none ends a step.
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

/* Give the entry a new lease_id, without units. */
void
cache_start_lease(Entry *entry)
{
	counters_start_lease(&entry->c);
	next_generation(entry);
}

/* Change the counters by the given amounts, if the lease is still open. */
void
cache_adjust(Entry *entry, int64 lease_id, int32 avail, int32 held)
{
	if (mutation == ADJUST_DEAD_LEASE)
		lease_id = entry->c.lease_id;
	if (counters_adjust(&entry->c, lease_id, avail, held))
		next_generation(entry);
}

/*
 * Does the ring accept n numbers of the lease?  The caller changes the ring
 * and the counters in the same step.
 */
static bool
has_ring(const Entry *entry, int64 lease_id, int32 n)
{
	bool		added = n > 0 &&
		(entry->c.lease_id == lease_id || mutation == ADJUST_DEAD_LEASE);

	if (n > NUMBERS_RING)
		broken("more numbers are added to a ring than it has slots",
			   entry->item);
	if (added && !entry->has_ring)
		broken("numbers come back, and their entry has no ring", entry->item);
	return added;
}

/* Does a transaction show itself as a holder of units of the entry? */
static bool
has_holder(const Entry *entry)
{
	for (int i = 0; i < ntxns; i++)
		for (int k = 0; k < txns[i].nholds; k++)
			if (txns[i].holds[k].entry == entry && txns[i].holds[k].shown)
				return true;
	return false;
}

/*
 * Give the entry a ring, unless it has one; takes one from an idle entry
 * without holders if all are in use.  False: there is none.
 */
bool
cache_add_ring(Entry *entry)
{
	int			used = 0;

	if (entry->has_ring)
		return true;
	for (int i = 0; i < nentries; i++)
		used += entries[i].has_ring;
	for (int i = 0; i < nentries && used == nrings; i++)
	{
		Entry	   *owner = &entries[i];

		if (owner->has_ring && counters_idle(&owner->c) &&
			(!has_holder(owner) || mutation == RING_FROM_HOLDER))
		{
			owner->has_ring = false;
			used--;
		}
	}
	entry->has_ring = used < nrings;
	entry->ring.head = below(NUMBERS_RING);
	return entry->has_ring;
}

/* Put numbers that were taken back at the head of the ring. */
void
cache_return_numbers(Entry *entry, int64 lease_id, const int32 *numbers,
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

/* Add the numbers of a refill at the tail of the ring. */
void
cache_add_numbers(Entry *entry, int64 lease_id, const int32 *numbers, int32 n)
{
	if (has_ring(entry, lease_id, n))
		ring_refill(&entry->ring,
					mutation == REFILL_OVERWRITES ? 0 : entry->c.avail,
					numbers, n);
}

/* Start a new lease unless another transaction did so before. */
void
cache_renew_lease(Entry *entry, int64 lease_id)
{
	if (entry->c.lease_id == lease_id)
		cache_start_lease(entry);
}

/* Close the lease if no transaction holds units of it; true if closed. */
bool
cache_close_lease(Entry *entry)
{
	bool		closed = entry->c.held == 0 || mutation == CLOSE_HELD;

	if (closed)
		cache_start_lease(entry);
	return closed;
}

/*
 * What a buyer that wants quantity units does next; sets the sold-out flag if
 * no unit is left for anybody.
 */
UnitsVerdict
cache_judge(Entry *entry, uint64 generation, const ItemRow *row,
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

/* Evict the entry if it is idle and not pinned. */
void
cache_evict(Entry *entry)
{
	for (int i = 0; i < ntxns; i++)
		if (txns[i].pin == entry && mutation != EVICT_PINNED)
			return;
	if (is_idle(entry))
		entry->live = entry->has_ring = false;
}

/* Find and pin the entry of an item; NULL if there is none. */
Entry *
entry_find(Txn *t, int item)
{
	t->pin = t->work.emptied ? NULL : entry_of(item);
	return t->pin;
}

/*
 * Find and pin the entry of an item, and create it if there is none; evicts
 * idle entries of other items.  NULL if all entries are in use.
 */
Entry *
entry_enter(Txn *t, int item)
{
	if (entry_find(t, item) != NULL || t->work.emptied)
		return t->pin;
	for (int i = 0; i < nentries; i++)
	{
		Entry	   *entry = &entries[i];

		if (entry->live)
			cache_evict(entry);
		if (entry->live)
			continue;
		entry->live = true;
		entry->item = item;
		entry->sold_out = entry->refilling = false;
		entry->c.avail = entry->c.held = 0;
		entry->c.lease_id = mutation == LEASE_ID_AGAIN ? 1000 :
			(last_lease_id += 1000);
		entry->c.generation++;
		entry->has_ring = false;
		t->pin = entry;
		break;
	}
	return t->pin;
}

/* A change of the row has committed: verdicts before it are stale. */
void
cache_row_changed(int item)
{
	Entry	   *entry = entry_of(item);

	if (entry != NULL && mutation != NO_ANNOUNCE)
		next_generation(entry);
}
