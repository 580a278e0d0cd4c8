/*
 * cache_counters.c
 *		TODO
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/spin.h"
#include "utils/hsearch.h"

#include "base/settings.h"
#include "seckill.h"
#include "shmem/cache_counters.h"
#include "shmem/cache_private.h"
#include "shmem/counters.h"

/*
 * Rules and the sold-out flag
 */

/* Open and close a change of what is read by sequence; under the mutex. */
static inline void
begin_rules(CacheEntry *entry)
{
	pg_atomic_write_u32(&entry->rules_seq,
						pg_atomic_read_u32(&entry->rules_seq) + 1);
	pg_write_barrier();
}

static inline void
end_rules(CacheEntry *entry)
{
	pg_write_barrier();
	pg_atomic_write_u32(&entry->rules_seq,
						pg_atomic_read_u32(&entry->rules_seq) + 1);
}

/* Under the mutex. */
static void
set_sold_out(CacheEntry *entry, bool sold_out)
{
	if (entry->sold_out == sold_out)
		return;
	begin_rules(entry);
	entry->sold_out = sold_out;
	end_rules(entry);
}

/* Under the mutex: units appeared, or the row changed. */
static void
next_generation(CacheEntry *entry)
{
	entry->counters.generation++;
	set_sold_out(entry, false);
}

/* Read rules and flag as of one moment. */
void
seckill_cache_read_rules(CacheEntry *entry, CachedRules *glance)
{
	uint32		seq;

	do
	{
		seq = pg_atomic_read_u32(&entry->rules_seq);
		pg_read_barrier();
		glance->known = entry->known;
		glance->sold_out = entry->sold_out;
		glance->rules = entry->rules;
		glance->checked_at =
			(TimestampTz) pg_atomic_read_u64(&entry->checked_at);
		pg_read_barrier();
	} while ((seq & 1) != 0 || pg_atomic_read_u32(&entry->rules_seq) != seq);
}

/* Of all who saw the same old check, let one through to read the row. */
bool
seckill_cache_claim_check(CacheEntry *entry, TimestampTz seen, TimestampTz now)
{
	uint64		expected = (uint64) seen;

	return pg_atomic_compare_exchange_u64(&entry->checked_at, &expected,
										  (uint64) now);
}

uint64
seckill_cache_generation(CacheEntry *entry)
{
	uint64		generation;

	SpinLockAcquire(&entry->mutex);
	generation = entry->counters.generation;
	SpinLockRelease(&entry->mutex);
	return generation;
}

/*
 * Are there units in the committed row that only a look at the row can sell:
 * seckill_cache_state, or a lease that this memory does not know?
 */
static bool
row_has_units(CacheEntry *entry, const ItemRow *row)
{
	return row->stock > 0 || counters_lost(&entry->counters, row);
}

/*
 * Keep the rules of a row that was read after the given generation, unless
 * the generation moved on or the row is our own uncommitted change.  A row
 * with units takes the sold-out flag back.
 */
void
seckill_cache_store_rules(CacheEntry *entry, uint64 generation, const ItemRow *row,
						  TimestampTz now)
{
	SpinLockAcquire(&entry->mutex);
	if (entry->counters.generation == generation && !row->mine)
	{
		begin_rules(entry);
		entry->known = true;
		entry->rules = row->rules;
		pg_atomic_write_u64(&entry->checked_at, (uint64) now);
		end_rules(entry);
		if (row_has_units(entry, row))
		{
			entry->dry = false;
			set_sold_out(entry, false);
		}
	}
	SpinLockRelease(&entry->mutex);
}


/*
 * Counters
 */

/* Units anyone may take; only a hint, as no lock is held. */
int32
seckill_cache_avail(CacheEntry *entry)
{
	return *(volatile int32 *) &entry->counters.avail;
}

int64
seckill_cache_lease_id(CacheEntry *entry)
{
	int64		lease_id;

	SpinLockAcquire(&entry->mutex);
	lease_id = entry->counters.lease_id;
	SpinLockRelease(&entry->mutex);
	return lease_id;
}

/* The counters as of one moment. */
void
seckill_cache_read_counters(CacheEntry *entry, LeaseCounters *counters)
{
	SpinLockAcquire(&entry->mutex);
	*counters = entry->counters;
	SpinLockRelease(&entry->mutex);
}

/* Has the lease nothing on sale and nothing held but own? */
bool
seckill_cache_is_vacant(CacheEntry *entry, const OwnUnits *own)
{
	bool		vacant;

	SpinLockAcquire(&entry->mutex);
	vacant = counters_vacant(&entry->counters, own);
	SpinLockRelease(&entry->mutex);
	return vacant;
}

/*
 * Take at least min and at most max units, or none.  Below a quarter of a
 * lease, or of ten such calls, the caller is told to think of a refill, unless
 * one is under way or the row is known to be empty.
 */
void
seckill_cache_take(CacheEntry *entry, int32 min, int32 max, TakenUnits *taken)
{
	SpinLockAcquire(&entry->mutex);
	taken->units = counters_take(&entry->counters, min, max);
	taken->lease_id = entry->counters.lease_id;
	taken->low = !entry->dry && !entry->refilling &&
		entry->counters.avail <
		Max(seckill_lease_units, (int64) taken->units * 10) / 4;
	SpinLockRelease(&entry->mutex);
}

/*
 * Move units of the given lease: add to avail and to held (either may be
 * negative).  Units of another lease are dead and change nothing.
 */
void
seckill_cache_adjust(CacheEntry *entry, int64 lease_id, int32 avail,
					 int32 held)
{
	SpinLockAcquire(&entry->mutex);
	if (counters_adjust(&entry->counters, lease_id, avail, held))
		next_generation(entry);
	SpinLockRelease(&entry->mutex);
}

/*
 * Decide for a buyer, see counters_judge(), and set the flag if everybody may
 * be told the same.
 */
UnitsVerdict
seckill_cache_judge(CacheEntry *entry, uint64 generation, const ItemRow *row,
					int32 quantity, const OwnUnits *own)
{
	UnitsVerdict verdict;

	SpinLockAcquire(&entry->mutex);
	verdict = counters_judge(&entry->counters, generation, row, quantity, own);
	if (verdict == UNITS_SOLD_OUT && counters_all_gone(&entry->counters, row))
		set_sold_out(entry, true);
	SpinLockRelease(&entry->mutex);
	return verdict;
}

/*
 * Under the mutex: forget the lease; its units are nobody's from here on.
 * Counting on from a random start keeps the number as good as unique.
 */
void
seckill_cache_start_lease(CacheEntry *entry)
{
	counters_start_lease(&entry->counters);
	entry->dry = false;
	next_generation(entry);
}

/* Start a new lease if the entry still has the given one, found dead. */
void
seckill_cache_renew_lease(CacheEntry *entry, int64 lease_id)
{
	SpinLockAcquire(&entry->mutex);
	if (entry->counters.lease_id == lease_id)
		seckill_cache_start_lease(entry);
	SpinLockRelease(&entry->mutex);
}

/*
 * Close the lease if no transaction holds any of it, not even the caller's,
 * which might roll back the closing and keep the hold, and if its units are at
 * most room: the row must be able to take them.  Caller has locked the item's row, so no lease can be brought in meanwhile.  What is on the row is
 * from now on a lease that no memory knows, to be settled.
 */
bool
seckill_cache_close_lease(CacheEntry *entry, int32 room)
{
	bool		closed;

	SpinLockAcquire(&entry->mutex);
	closed = entry->counters.held == 0 && entry->counters.avail <= room;
	if (closed)
		seckill_cache_start_lease(entry);
	SpinLockRelease(&entry->mutex);
	return closed;
}

/*
 * Does the entry count units of a lease that is not on the row?  Caller has
 * locked the row.
 */
bool
seckill_cache_is_stale(CacheEntry *entry, const ItemRow *row)
{
	bool		stale;

	SpinLockAcquire(&entry->mutex);
	stale = counters_stale(&entry->counters, row);
	SpinLockRelease(&entry->mutex);
	return stale;
}

/*
 * Say whether the row has nothing more to lease.  Only of a committed row that
 * the caller has locked: what a transaction leaves of it may be undone, and
 * nobody would be told.
 */
void
seckill_cache_set_row_exhausted(CacheEntry *entry, bool dry)
{
	SpinLockAcquire(&entry->mutex);
	entry->dry = dry;
	SpinLockRelease(&entry->mutex);
}


/* Remember that a refill is under way, so that nobody tops up meanwhile. */
void
seckill_cache_set_refilling(CacheEntry *entry, bool refilling)
{
	SpinLockAcquire(&entry->mutex);
	entry->refilling = refilling;
	SpinLockRelease(&entry->mutex);
}

/* Has a transaction the role?  It may just be taking it or leaving it. */
bool
seckill_cache_is_refilling(CacheEntry *entry)
{
	return *(volatile bool *) &entry->refilling;
}


/*
 * Changes of the tables, at commit
 */

void
seckill_cache_forget_rules(CacheEntry *entry)
{
	SpinLockAcquire(&entry->mutex);
	begin_rules(entry);
	entry->known = false;
	entry->dry = false;
	end_rules(entry);
	next_generation(entry);
	SpinLockRelease(&entry->mutex);
}
