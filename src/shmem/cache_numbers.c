/*
 * cache_numbers.c
 *		Number rings: which numbers the units of a cache entry have.
 *
 * An entry whose units have numbers has a ring with those of the units on
 * sale, as many as counters.avail.  Ring and counters change together under
 * the entry's spinlock; the arithmetic is in numbers.h.
 *
 * There are seckill.max_numbered_items rings.  An entry gets one before it
 * gets its first units, and keeps it until the entry is evicted or another
 * entry needs a ring: a ring can be taken from an entry without units on sale
 * or on hold, unless a transaction shows itself as a holder.  That one may have
 * sold all that it has leased itself, which then counts as neither, and may get
 * it back by a rollback to a savepoint.  entry->ring is written under the
 * LWLock (exclusively) and the spinlock, so either of them is enough to read
 * it.
 */
#include "postgres.h"

#include "storage/lwlock.h"
#include "storage/spin.h"

#include "base/settings.h"
#include "base/shmem.h"
#include "seckill.h"
#include "shmem/cache_numbers.h"
#include "shmem/cache_private.h"
#include "shmem/counters.h"
#include "shmem/holders.h"
#include "shmem/numbers.h"

/*
 * Rings that a purchase looks at: where more items are sold than there are
 * rings, most find none, and all look under one lock.
 */
#define RINGS_SEARCHED	32

/* in shared memory; NULL without preload */
static OwnedRing *rings = NULL;

void
seckill_cache_request_rings(void)
{
	seckill_shmem_struct("seckill number rings",
						 mul_size(seckill_max_numbered_items,
								  sizeof(OwnedRing)),
						 (void **) &rings);
}

void
seckill_cache_init_rings(void)
{
	seckill_cache_state->ring_hand = 0;
	for (int i = 0; i < seckill_max_numbered_items; i++)
		rings[i].owner = 0;
}

/* Return the ring of an entry; NULL if it has none.  Under the spinlock. */
NumberRing *
seckill_cache_ring(CacheEntry *entry)
{
	return entry->ring >= 0 ? &rings[entry->ring].ring : NULL;
}

/*
 * Return the ring of an entry that is evicted.  The caller has the LWLock
 * exclusively, and no backend has a pin.
 */
void
seckill_cache_free_ring(CacheEntry *entry)
{
	if (entry->ring >= 0)
		rings[entry->ring].owner = 0;
	entry->ring = -1;
}

/*
 * Take the ring from its owner, unless that has units on sale or on hold or, if
 * these are to be checked, a holder.  The caller has the LWLock exclusively.
 */
static bool
take_ring_back(OwnedRing *ring, bool check_holders)
{
	CacheEntry *owner = &seckill_cache_entries[ring->owner - 1].entry;
	bool		idle;

	SpinLockAcquire(&owner->mutex);
	idle = counters_idle(&owner->counters) &&
		!(check_holders && seckill_holder_any(owner));
	if (idle)
		owner->ring = -1;
	SpinLockRelease(&owner->mutex);
	if (idle)
		ring->owner = 0;
	return idle;
}

/*
 * Find a ring without an owner among the next n, taking one from an idle entry
 * if need be.  Returns its index, or -1.  The caller has the LWLock exclusively.
 */
static int
find_ring(int n)
{
	for (int i = 0; i < n; i++)
	{
		int			at = seckill_cache_state->ring_hand;

		seckill_cache_state->ring_hand = (at + 1) % seckill_max_numbered_items;
		if (rings[at].owner == 0 || take_ring_back(&rings[at], true))
			return at;
	}
	return -1;
}

/* Does the entry have a number ring?  May change while it has no units. */
bool
seckill_cache_is_numbered(CacheEntry *entry)
{
	return *(volatile int *) &entry->ring >= 0;
}

/*
 * Give the entry, which is pinned, a number ring unless it has one.  Returns
 * false if all rings are in use or, unless the search is to be thorough, the
 * next few.  Until the entry has units, the ring may be taken away again.
 */
bool
seckill_cache_add_ring(CacheEntry *entry, bool thorough)
{
	int			n = thorough ? seckill_max_numbered_items :
		Min(RINGS_SEARCHED, seckill_max_numbered_items);
	int			at = -1;

	if (seckill_cache_is_numbered(entry))
		return true;
	LWLockAcquire(seckill_cache_state->lock, LW_EXCLUSIVE);
	if (entry->ring < 0)
		at = find_ring(n);
	if (at >= 0)
	{
		rings[at].owner = entry_number(entry);
		rings[at].ring.head = 0;
		SpinLockAcquire(&entry->mutex);
		entry->ring = at;
		SpinLockRelease(&entry->mutex);
	}
	at = entry->ring;
	LWLockRelease(seckill_cache_state->lock);
	return at >= 0;
}

/*
 * Take the ring from an entry whose item has no numbers: it is of an item that
 * was deleted, and the entry has no units.  A holder that shows has units of a
 * lease that has ended.
 */
void
seckill_cache_drop_ring(CacheEntry *entry)
{
	if (!seckill_cache_is_numbered(entry))
		return;
	LWLockAcquire(seckill_cache_state->lock, LW_EXCLUSIVE);
	if (entry->ring >= 0)
		(void) take_ring_back(&rings[entry->ring], false);
	LWLockRelease(seckill_cache_state->lock);
}

/*
 * Return how many more units the entry can get: each unit on sale or on hold
 * needs a place in the ring.
 */
int32
seckill_cache_number_room(CacheEntry *entry)
{
	int32		room;

	SpinLockAcquire(&entry->mutex);
	room = ring_room(&entry->counters);
	SpinLockRelease(&entry->mutex);
	return room;
}
