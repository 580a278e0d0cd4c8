/*
 * holders.c
 *		Holders: which transactions hold units of a cache entry.
 *
 * Each backend has SECKILL_MAX_HOLDS slots in shared memory, of (entry, xid).
 * The backend sets its own slots; others read them to find a transaction to
 * wait for.
 *
 * - A slot is set before units are taken under the entry's spinlock, and
 *   cleared after they have been returned under it.  So a backend that has the
 *   spinlock and finds units held while no slot shows the entry knows that
 *   these units are lost.
 * - moves is odd while its backend moves units from one of its slots to
 *   another: a reader could miss them in both, so it takes the backend for a
 *   holder.
 * - nholds bounds the search: slots from there on are empty.
 * - A slot whose transaction has ended is cleared by a backend that has waited
 *   for that transaction, or has found that it has ended.
 *
 * The caller has pinned the entry.  Nothing here raises.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/spin.h"

#include "base/compat.h"
#include "shmem/cache_counters.h"
#include "shmem/cache_private.h"
#include "shmem/counters.h"
#include "shmem/holders.h"

/* Show in a slot of this backend that xid holds units of entry. */
void
seckill_holder_publish(int slot, CacheEntry *entry, TransactionId xid)
{
	CacheBackend *me = my_backend();

	pg_atomic_write_u64(&me->holds[slot],
						((uint64) entry_number(entry) << 32) | xid);
	if (pg_atomic_read_u32(&me->nholds) <= (uint32) slot)
		pg_atomic_write_u32(&me->nholds, slot + 1);
}

/* Clear a slot of this backend. */
void
seckill_holder_withdraw(int slot)
{
	CacheBackend *me = my_backend();

	pg_atomic_write_u64(&me->holds[slot], 0);
	if (pg_atomic_read_u32(&me->nholds) == (uint32) slot + 1)
		pg_atomic_write_u32(&me->nholds, slot);
}

/*
 * Units are about to move between slots of this backend.  Until
 * seckill_holder_end_move() a reader might see them in neither.
 */
void
seckill_holder_begin_move(void)
{
	CacheBackend *me = my_backend();

	pg_atomic_write_u32(&me->moves, pg_atomic_read_u32(&me->moves) + 1);
	pg_write_barrier();
}

/* Units have moved between slots of this backend. */
void
seckill_holder_end_move(void)
{
	CacheBackend *me = my_backend();

	pg_write_barrier();
	pg_atomic_write_u32(&me->moves, pg_atomic_read_u32(&me->moves) + 1);
}

/*
 * Return the index of the first slot of a backend that shows the entry, or -1.
 */
static int
find_slot(CacheBackend *backend, CacheEntry *entry)
{
	uint32		number = entry_number(entry);
	int			n = pg_atomic_read_u32(&backend->nholds);

	for (int j = 0; j < n; j++)
		if ((uint32) (pg_atomic_read_u64(&backend->holds[j]) >> 32) == number)
			return j;
	return -1;
}

/*
 * Find a slot of another backend that shows the entry; false if there is none.
 */
bool
seckill_holder_find(CacheEntry *entry, Holder *holder)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		int			slot;

		if (i == SeckillMyProcIndex())
			continue;
		slot = find_slot(&seckill_cache_backends[i], entry);
		if (slot < 0)
			continue;
		holder->slot = &seckill_cache_backends[i].holds[slot];
		holder->shown = pg_atomic_read_u64(holder->slot);
		if ((uint32) (holder->shown >> 32) == entry_number(entry))
			return true;
	}
	return false;
}

/*
 * Clear the slot if it still shows the holder.  The caller has made sure that
 * the holder's transaction and its callbacks have ended, so the slot is a
 * leftover.
 */
void
seckill_holder_forget(Holder *holder)
{
	(void) pg_atomic_compare_exchange_u64(holder->slot, &holder->shown, 0);
}

/*
 * Might a backend other than that of this index hold units of the entry?  Under
 * the spinlock.
 */
static bool
has_holder_but(CacheEntry *entry, int except)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		CacheBackend *backend = &seckill_cache_backends[i];
		uint32		moves = pg_atomic_read_u32(&backend->moves);

		if (i == except)
			continue;
		pg_read_barrier();
		if (find_slot(backend, entry) >= 0)
			return true;
		pg_read_barrier();
		if ((moves & 1) != 0 || pg_atomic_read_u32(&backend->moves) != moves)
			return true;
	}
	return false;
}

/*
 * Might a transaction, the caller's included, have units of the entry?  Also
 * true where it has sold all of its credit: they come back if a savepoint does.
 * Under the spinlock.
 */
bool
seckill_holder_any(CacheEntry *entry)
{
	return has_holder_but(entry, -1);
}

/* Are units of own's lease held by no backend?  Under the spinlock. */
static bool
has_lost_units(CacheEntry *entry, const OwnUnits *own)
{
	return entry->counters.lease_id == own->lease_id &&
		entry->counters.held > own->held &&
		!has_holder_but(entry, SeckillMyProcIndex());
}

/* Does the entry count units of own's lease as held that no backend holds? */
bool
seckill_holder_has_lost(CacheEntry *entry, const OwnUnits *own)
{
	bool		lost;

	SpinLockAcquire(&entry->mutex);
	lost = has_lost_units(entry, own);
	SpinLockRelease(&entry->mutex);
	return lost;
}

/*
 * Start a new lease if the entry counts units as held that no backend holds;
 * returns how many, or 0. own_units are those that the caller's transaction
 * holds and has not sold.  The caller has locked the item's row, so no
 * transaction has sold units of the lease and not committed.
 */
int32
seckill_holder_drop_lost(CacheEntry *entry, int32 own_units)
{
	int32		units = 0;
	OwnUnits	own = {.held = own_units};

	SpinLockAcquire(&entry->mutex);
	own.lease_id = entry->counters.lease_id;
	if (has_lost_units(entry, &own))
	{
		units = entry->counters.held - own_units;
		seckill_cache_start_lease(entry);
	}
	SpinLockRelease(&entry->mutex);
	return units;
}
