/*
 * cache_calls.c
 *		Is an item hot?  Mode auto sells hot items from the cache.
 *
 * An entry counts the calls of mode auto and the lost races for the row in a
 * window of a second.  Window, counts and the flag hot are under the entry's
 * spinlock.  The caller has pinned the entry.  Nothing here raises.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/spin.h"

#include "base/clock.h"
#include "base/settings.h"
#include "shmem/cache_calls.h"
#include "shmem/cache_private.h"

#define CALL_WINDOW			USECS_PER_SEC
#define HOT_CONFLICTS		10


/*
 * A window has ended: clear hot if it saw too few calls and lost races.  A
 * window ends with the first call after its second, so it is longer than a
 * second when calls are few, as they are when they wait for each other.  So
 * calls are compared as a rate.  Under the spinlock.
 */
static void
close_window(CacheEntry *entry, ClockTime now)
{
	int64		length = Max(now - entry->window, CALL_WINDOW);

	if ((int64) entry->calls * CALL_WINDOW / length < seckill_hot_rate / 2 &&
		entry->conflicts < HOT_CONFLICTS / 2)
		entry->hot = false;
}

/*
 * Record calls of mode auto; return whether the item is hot.
 *
 * An item gets hot as soon as a window has seen seckill.hot_rate calls or
 * HOT_CONFLICTS lost races.  It stops being hot when a window has seen less
 * than half of the one and less than half of the other.
 * seckill_cache_mark_hot() makes it hot at once.
 */
bool
seckill_cache_record_calls(CacheEntry *entry, int32 calls)
{
	ClockTime	now = seckill_clock();
	bool		hot;

	SpinLockAcquire(&entry->mutex);
	if (now >= entry->window + CALL_WINDOW)
	{
		if (entry->window != 0)
			close_window(entry, now);
		entry->window = now;
		entry->calls = entry->conflicts = 0;
	}
	entry->calls += calls;
	if (entry->calls >= seckill_hot_rate)
		entry->hot = true;
	hot = entry->hot;
	SpinLockRelease(&entry->mutex);
	return hot;
}

/* Record that a buyer lost a race for the row. */
void
seckill_cache_record_conflict(CacheEntry *entry)
{
	SpinLockAcquire(&entry->mutex);
	if (++entry->conflicts >= HOT_CONFLICTS)
		entry->hot = true;
	SpinLockRelease(&entry->mutex);
}

/* Make the item hot for at least one window: units have been prewarmed. */
void
seckill_cache_mark_hot(CacheEntry *entry)
{
	SpinLockAcquire(&entry->mutex);
	entry->hot = true;
	entry->window = 0;
	SpinLockRelease(&entry->mutex);
}
