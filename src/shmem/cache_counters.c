/*
 * cache_counters.c
 *		Rules, sold-out flag, counters and generation of a cache entry.
 *
 * - Counters: lease_id, avail, held, generation, refilling and row_exhausted,
 *   under the entry's spinlock.  avail is the number of units that anyone may
 *   take.  held is the number of units that running transactions have taken
 *   (they return to avail on abort), or have leased and not committed (they
 *   become avail on commit).  Both count units of lease_id only; units of any
 *   other lease_id are dead and are dropped.  The arithmetic is in counters.h,
 *   which the model in model/ shares.
 * - The generation rises whenever units become available or the row may have
 *   changed.  A backend that reads the generation, then the row, then the
 *   counters, and finds the generation unchanged has seen one moment.  This
 *   proves that an item is sold out, and lets rules be stored without a lock
 *   on the row.
 * - Rules and sold-out flag: written under the spinlock while rules_seq is
 *   odd, read without a lock and read again if rules_seq has changed (a
 *   sequence lock).  checked_at can also be moved on by compare-and-swap
 *   alone.
 *
 * Where units have numbers, those on sale are in the entry's number ring
 * (cache_numbers.c), which changes together with avail.
 *
 * The caller has pinned the entry or has the LWLock of the cache.  Nothing
 * here raises or waits for anything but the spinlock.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/spin.h"

#include "base/settings.h"
#include "seckill.h"
#include "shmem/cache_counters.h"
#include "shmem/cache_private.h"
#include "shmem/counters.h"
#include "shmem/numbers.h"

/*
 * Rules and the sold-out flag
 */

/* Begin a change of fields that rules_seq protects.  Under the spinlock. */
static inline void
begin_rules(CacheEntry *entry)
{
	pg_atomic_write_u32(&entry->rules_seq,
						pg_atomic_read_u32(&entry->rules_seq) + 1);
	pg_write_barrier();
}

/* End a change of fields that rules_seq protects.  Under the spinlock. */
static inline void
end_rules(CacheEntry *entry)
{
	pg_write_barrier();
	pg_atomic_write_u32(&entry->rules_seq,
						pg_atomic_read_u32(&entry->rules_seq) + 1);
}

/* Set the sold-out flag.  Under the spinlock. */
static void
set_sold_out(CacheEntry *entry, bool sold_out)
{
	if (entry->sold_out == sold_out)
		return;
	begin_rules(entry);
	entry->sold_out = sold_out;
	end_rules(entry);
}

/* Units have become available, or the row has changed.  Under the spinlock. */
static void
next_generation(CacheEntry *entry)
{
	entry->counters.generation++;
	set_sold_out(entry, false);
}

/* Copy rules and flag as of one moment; takes no lock. */
void
seckill_cache_read_rules(CacheEntry *entry, CachedRules *cached)
{
	uint32		seq;

	do
	{
		seq = pg_atomic_read_u32(&entry->rules_seq);
		pg_read_barrier();
		cached->known = entry->known;
		cached->sold_out = entry->sold_out;
		cached->rules = entry->rules;
		cached->checked_at =
			(TimestampTz) pg_atomic_read_u64(&entry->checked_at);
		pg_read_barrier();
	} while ((seq & 1) != 0 || pg_atomic_read_u32(&entry->rules_seq) != seq);
}

/*
 * Set checked_at to now if it is still the value that the caller has seen.
 * Returns true to exactly one of the callers that have seen the same value;
 * that caller reads the row again.
 */
bool
seckill_cache_claim_check(CacheEntry *entry, TimestampTz seen, TimestampTz now)
{
	uint64		expected = (uint64) seen;

	return pg_atomic_compare_exchange_u64(&entry->checked_at, &expected,
										  (uint64) now);
}

/* Return the generation; read it before the row. */
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
 * Does the committed row have units that the counters do not show: stock, or a
 * lease that this entry does not know?  Under the spinlock.
 */
static bool
row_has_units(CacheEntry *entry, const ItemRow *row)
{
	return row->stock > 0 || counters_lost(&entry->counters, row);
}

/*
 * Store the rules of a row that was read after the given generation, unless
 * the generation has changed or the row is an uncommitted change of this
 * transaction.  A row with units clears the sold-out flag.
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
			entry->row_exhausted = false;
			set_sold_out(entry, false);
		}
	}
	SpinLockRelease(&entry->mutex);
}


/*
 * Split items
 */

/*
 * Set until when a split item is certified to be sold out on all nodes, by
 * seckill_clock().  0 is the value of a new entry: nobody has looked yet
 * whether this node may sell the item (shmem/share_state.c).
 */
void
seckill_cache_set_certified(CacheEntry *entry, ClockTime until)
{
	pg_atomic_write_u64(&entry->certified_until, (uint64) until);
}

/* Return what seckill_cache_set_certified() has set. */
ClockTime
seckill_cache_certified_until(CacheEntry *entry)
{
	return (ClockTime) pg_atomic_read_u64(&entry->certified_until);
}


/*
 * Counters
 */

/*
 * Return the units that anyone may take; only a hint, because no lock is
 * taken.
 */
int32
seckill_cache_avail(CacheEntry *entry)
{
	return *(volatile int32 *) &entry->counters.avail;
}

/* Return the lease_id of the entry. */
int64
seckill_cache_lease_id(CacheEntry *entry)
{
	int64		lease_id;

	SpinLockAcquire(&entry->mutex);
	lease_id = entry->counters.lease_id;
	SpinLockRelease(&entry->mutex);
	return lease_id;
}

/* Copy the counters as of one moment. */
void
seckill_cache_read_counters(CacheEntry *entry, LeaseCounters *counters)
{
	SpinLockAcquire(&entry->mutex);
	*counters = entry->counters;
	SpinLockRelease(&entry->mutex);
}

/* Does own's lease have no units on sale, and none held but own's? */
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
 * The number of units on sale below which a call that has taken so many starts
 * a refill: a quarter of a lease, or of ten such calls.  A ring with all the
 * numbers that fit is not low.
 */
static int64
low_water(const NumberRing *ring, int32 units)
{
	int64		lease = Max(seckill_lease_units, (int64) units * 10);

	return (ring != NULL ? Min(lease, NUMBERS_RING) : lease) / 4;
}

/*
 * Take at least min and at most max units, or none; they are held from then
 * on.  Sets taken->low if the caller should start a refill: few units are left,
 * no refill is under way and the row is not known to be exhausted.
 *
 * taken->numbers is an array for the numbers of the units, NULL if the caller
 * expects none.  Then nothing is taken if the units have numbers.  It is set
 * to NULL if they have none.
 */
void
seckill_cache_take(CacheEntry *entry, int32 min, int32 max, TakenUnits *taken)
{
	static int32 numbers[NUMBERS_RING];
	NumberRing *ring;

	SpinLockAcquire(&entry->mutex);
	ring = seckill_cache_ring(entry);
	if (ring != NULL && taken->numbers == NULL)
		min = PG_INT32_MAX;
	taken->units = counters_take(&entry->counters, min, max);
	if (ring != NULL)
		ring_take(ring, numbers, taken->units);
	taken->lease_id = entry->counters.lease_id;
	taken->low = !entry->row_exhausted && !entry->refilling &&
		entry->counters.avail < low_water(ring, taken->units);
	SpinLockRelease(&entry->mutex);
	if (ring == NULL)
		taken->numbers = NULL;
	else if (taken->units > 0)
		memcpy(taken->numbers, numbers, taken->units * sizeof(int32));
}

/*
 * Add to avail and held (either may be negative) if the entry still has the
 * given lease.  Units of another lease are dead and change nothing.
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
 * Count units with numbers as held if the entry still has the given lease;
 * their numbers come later.  Returns false, with nothing changed, if the entry
 * has no number ring.
 */
bool
seckill_cache_hold_numbered(CacheEntry *entry, int64 lease_id, int32 units)
{
	bool		numbered;

	SpinLockAcquire(&entry->mutex);
	numbered = seckill_cache_ring(entry) != NULL;
	if (numbered)
		(void) counters_adjust(&entry->counters, lease_id, 0, units);
	SpinLockRelease(&entry->mutex);
	return numbered;
}

/*
 * Put n numbers on sale if the entry still has the given lease, as the next
 * ones or behind the others, and add to held (which may be negative).
 */
static void
give_numbers(CacheEntry *entry, int64 lease_id, const int32 *numbers, int32 n,
			 int32 held, bool next)
{
	SpinLockAcquire(&entry->mutex);
	if (entry->counters.lease_id == lease_id && n > 0)
	{
		NumberRing *ring = seckill_cache_ring(entry);

		if (next)
			ring_return(ring, numbers, n);
		else
			ring_refill(ring, entry->counters.avail, numbers, n);
	}
	if (counters_adjust(&entry->counters, lease_id, n, held))
		next_generation(entry);
	SpinLockRelease(&entry->mutex);
}

/*
 * Put back n units with numbers that were taken and not sold; they are the
 * next ones to be taken.  held is added to the units on hold.
 */
void
seckill_cache_put_back(CacheEntry *entry, int64 lease_id,
					   const int32 *numbers, int32 n, int32 held)
{
	give_numbers(entry, lease_id, numbers, n, held, true);
}

/*
 * Put n units with numbers on sale that were leased, behind those on sale.
 * held is added to the units on hold.
 */
void
seckill_cache_refill(CacheEntry *entry, int64 lease_id, const int32 *numbers,
					 int32 n, int32 held)
{
	give_numbers(entry, lease_id, numbers, n, held, false);
}

/*
 * Decide for a buyer, see counters_judge().  Sets the sold-out flag if the
 * answer is true for everybody.
 */
UnitsVerdict
seckill_cache_judge(CacheEntry *entry, uint64 generation, const ItemRow *row,
					int32 quantity, const OwnUnits *own)
{
	UnitsVerdict verdict;

	SpinLockAcquire(&entry->mutex);
	verdict = counters_judge(&entry->counters, generation, row, quantity, own);
	if (verdict == UNITS_SOLD_OUT && row->rules.split.n == 0 &&
		counters_all_gone(&entry->counters, row))
		set_sold_out(entry, true);
	SpinLockRelease(&entry->mutex);
	return verdict;
}

/*
 * Start a new lease; the units of the old one belong to nobody from now on.
 * Under the spinlock.  Counting up from a random start keeps the number
 * practically unique.
 */
void
seckill_cache_start_lease(CacheEntry *entry)
{
	counters_start_lease(&entry->counters);
	entry->row_exhausted = false;
	next_generation(entry);
}

/*
 * Start a new lease if the entry still has the given one, which was found
 * dead.
 */
void
seckill_cache_renew_lease(CacheEntry *entry, int64 lease_id)
{
	SpinLockAcquire(&entry->mutex);
	if (entry->counters.lease_id == lease_id)
		seckill_cache_start_lease(entry);
	SpinLockRelease(&entry->mutex);
}

/*
 * Start a new lease if no transaction holds any unit of this one and at most
 * room units are on sale, which the row must be able to take; returns whether
 * it did.  Holds of the caller's own transaction count too: it might roll back
 * the closing and keep the hold.  The caller has locked the item's row, so no
 * other transaction can start a lease meanwhile.  From now on no entry knows
 * the lease on the row, so it has to be settled.
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
 * Does the entry count units of a lease that is not on the row?  The caller
 * has locked the row.
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
 * Record whether the committed row has no more units to lease.  The caller has
 * locked the row.  It must not pass true for a row that it has changed: if
 * that change is rolled back, nothing corrects the flag.
 */
void
seckill_cache_set_row_exhausted(CacheEntry *entry, bool row_exhausted)
{
	SpinLockAcquire(&entry->mutex);
	entry->row_exhausted = row_exhausted;
	SpinLockRelease(&entry->mutex);
}

/*
 * Record whether a refill is under way; while one is, seckill_cache_take()
 * does not ask for another.
 */
void
seckill_cache_set_refilling(CacheEntry *entry, bool refilling)
{
	SpinLockAcquire(&entry->mutex);
	entry->refilling = refilling;
	SpinLockRelease(&entry->mutex);
}

/*
 * Does a transaction have the refiller's role?  Only a hint: it may be taking
 * or leaving the role right now.
 */
bool
seckill_cache_is_refilling(CacheEntry *entry)
{
	return *(volatile bool *) &entry->refilling;
}

/* The row may have changed: the rules are unknown until it is read again. */
void
seckill_cache_forget_rules(CacheEntry *entry)
{
	SpinLockAcquire(&entry->mutex);
	begin_rules(entry);
	entry->known = false;
	entry->row_exhausted = false;
	end_rules(entry);
	next_generation(entry);
	SpinLockRelease(&entry->mutex);
}
