/*
 * cache_calls.c
 *		TODO
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
 * Heat: what mode auto goes by
 */

/*
 * A window is over: does what happened in it keep the item hot?  It may have
 * been a long one: calls that wait for each other are few.
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
 * Note calls of mode auto; is the item hot?  It gets hot as soon as a window
 * has seen seckill.hot_rate calls or HOT_CONFLICTS lost races, and cools when
 * one has seen less than half of either.  Units prewarmed make it hot.
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

/* A buyer lost a race for the row. */
void
seckill_cache_record_conflict(CacheEntry *entry)
{
	SpinLockAcquire(&entry->mutex);
	if (++entry->conflicts >= HOT_CONFLICTS)
		entry->hot = true;
	SpinLockRelease(&entry->mutex);
}

/* The item is about to get hot. */
void
seckill_cache_mark_hot(CacheEntry *entry)
{
	SpinLockAcquire(&entry->mutex);
	entry->hot = true;
	entry->window = 0;
	SpinLockRelease(&entry->mutex);
}
