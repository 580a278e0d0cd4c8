/*
 * holders.c
 *		TODO
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/spin.h"
#include "utils/hsearch.h"

#include "base/compat.h"
#include "shmem/cache_counters.h"
#include "shmem/cache_private.h"
#include "shmem/counters.h"
#include "shmem/holders.h"

/*
 * Holders
 */

/* Show in one of my places that xid holds units of entry. */
void
seckill_holder_publish(int place, CacheEntry *entry, TransactionId xid)
{
	CacheBackend *me = my_backend();

	pg_atomic_write_u64(&me->holds[place],
						((uint64) entry_number(entry) << 32) | xid);
	if (pg_atomic_read_u32(&me->nholds) <= (uint32) place)
		pg_atomic_write_u32(&me->nholds, place + 1);
}

void
seckill_holder_withdraw(int place)
{
	CacheBackend *me = my_backend();

	pg_atomic_write_u64(&me->holds[place], 0);
	if (pg_atomic_read_u32(&me->nholds) == (uint32) place + 1)
		pg_atomic_write_u32(&me->nholds, place);
}

/*
 * Units are going to move between places of mine: who looks meanwhile might
 * see them in neither.
 */
void
seckill_holder_begin_move(void)
{
	CacheBackend *me = my_backend();

	pg_atomic_write_u32(&me->moves, pg_atomic_read_u32(&me->moves) + 1);
	pg_write_barrier();
}

void
seckill_holder_end_move(void)
{
	CacheBackend *me = my_backend();

	pg_write_barrier();
	pg_atomic_write_u32(&me->moves, pg_atomic_read_u32(&me->moves) + 1);
}

/* The first place of a backend that shows the entry, or -1. */
static int
find_place(CacheBackend *backend, CacheEntry *entry)
{
	uint32		number = entry_number(entry);
	int			n = pg_atomic_read_u32(&backend->nholds);

	for (int j = 0; j < n; j++)
		if ((uint32) (pg_atomic_read_u64(&backend->holds[j]) >> 32) == number)
			return j;
	return -1;
}

/* A place of another backend that shows the entry; false if none does. */
bool
seckill_holder_find(CacheEntry *entry, Holder *holder)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		int			place;

		if (i == SeckillMyProcIndex())
			continue;
		place = find_place(&seckill_cache_backends[i], entry);
		if (place < 0)
			continue;
		holder->place = &seckill_cache_backends[i].holds[place];
		holder->shown = pg_atomic_read_u64(holder->place);
		if ((uint32) (holder->shown >> 32) == entry_number(entry))
			return true;
	}
	return false;
}

/*
 * The caller has waited for the transaction of a holder, so its callbacks have
 * run.  A place that still shows it shows nobody: clear it.
 */
void
seckill_holder_forget(Holder *holder)
{
	(void) pg_atomic_compare_exchange_u64(holder->place, &holder->shown, 0);
}

/* Might another backend hold units of the entry?  Under the mutex. */
static bool
has_other_holder(CacheEntry *entry)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		CacheBackend *backend = &seckill_cache_backends[i];
		uint32		moves = pg_atomic_read_u32(&backend->moves);

		if (i == SeckillMyProcIndex())
			continue;
		pg_read_barrier();
		if (find_place(backend, entry) >= 0)
			return true;
		pg_read_barrier();
		if ((moves & 1) != 0 || pg_atomic_read_u32(&backend->moves) != moves)
			return true;
	}
	return false;
}

/* Are units of the entry on hold that nobody has?  Under the mutex. */
static bool
has_lost_units(CacheEntry *entry, const OwnUnits *own)
{
	return entry->counters.lease_id == own->lease_id &&
		entry->counters.held > own->held && !has_other_holder(entry);
}

/* The same for the caller's own transaction having own. */
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
 * Start a new lease if units of this one are on hold that nobody has; returns
 * how many, 0 if there are none.  The caller has so many units itself, sold
 * none, and has locked the item's row, so nobody has sold units of the lease
 * and not committed.
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
