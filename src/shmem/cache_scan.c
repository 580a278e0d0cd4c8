/*
 * cache_scan.c
 *		TODO
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/hsearch.h"

#include "base/settings.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/cache_private.h"
#include "shmem/cache_scan.h"

/*
 * Changes of the tables, at commit
 */

/* The row of an item changed.  Raises nothing: runs in a commit callback. */
void
seckill_cache_row_changed(Oid items, int64 item_id)
{
	CacheKey	key = {MyDatabaseId, items, item_id};
	CacheSlot  *slot;

	LWLockAcquire(seckill_cache_state->lock, LW_SHARED);
	slot = hash_search(seckill_cache_directory, &key, HASH_FIND, NULL);
	if (slot != NULL)
		seckill_cache_forget_rules(&seckill_cache_entries[slot->index].entry);
	LWLockRelease(seckill_cache_state->lock);
}

/* Any row of this database's items may have changed. */
void
seckill_cache_rows_changed(Oid items)
{
	LWLockAcquire(seckill_cache_state->lock, LW_SHARED);
	for (int i = 0; i < seckill_max_items; i++)
	{
		CacheEntry *entry = &seckill_cache_entries[i].entry;

		if (entry->live && entry->key.dbid == MyDatabaseId &&
			entry->key.items == items)
			seckill_cache_forget_rules(entry);
	}
	LWLockRelease(seckill_cache_state->lock);
}

/*
 * Forget the units of seckill_cache_entries whose table is gone, so that they can be
 * evicted.  Whoever is still at one of them meets the fence.
 */
static void
drop_entries(Oid dbid, Oid items)
{
	LWLockAcquire(seckill_cache_state->lock, LW_EXCLUSIVE);
	for (int i = 0; i < seckill_max_items; i++)
	{
		CacheEntry *entry = &seckill_cache_entries[i].entry;

		if (!entry->live || entry->key.dbid != dbid ||
			(OidIsValid(items) && entry->key.items != items))
			continue;
		SpinLockAcquire(&entry->mutex);
		seckill_cache_start_lease(entry);
		SpinLockRelease(&entry->mutex);
		seckill_cache_evict(entry);
	}
	LWLockRelease(seckill_cache_state->lock);
}

/* Is there an entry of this table?  Its table is being dropped. */
bool
seckill_cache_has_table(Oid items)
{
	bool		found = false;

	LWLockAcquire(seckill_cache_state->lock, LW_SHARED);
	for (int i = 0; i < seckill_max_items && !found; i++)
		found = seckill_cache_entries[i].entry.live &&
			seckill_cache_entries[i].entry.key.dbid == MyDatabaseId &&
			seckill_cache_entries[i].entry.key.items == items;
	LWLockRelease(seckill_cache_state->lock);
	return found;
}

void
seckill_cache_drop_table(Oid items)
{
	drop_entries(MyDatabaseId, items);
}

void
seckill_cache_drop_database(Oid dbid)
{
	drop_entries(dbid, InvalidOid);
}


/*
 * Looking at it
 */

/* Is it an entry of this table of my database? */
static bool
is_mine(const CacheEntry *entry, Oid items)
{
	return entry->live && entry->key.dbid == MyDatabaseId &&
		entry->key.items == items;
}

/* Copy what the seckill_cache_entries of this database's items say into *lines. */
int
seckill_cache_list(Oid items, CacheInfo **lines)
{
	int			n = 0;

	*lines = NULL;
	if (seckill_cache_state == NULL)
		return 0;
	*lines = palloc_extended(mul_size(seckill_max_items, sizeof(CacheInfo)),
							 MCXT_ALLOC_HUGE);
	LWLockAcquire(seckill_cache_state->lock, LW_SHARED);
	for (int i = 0; i < seckill_max_items; i++)
	{
		CacheEntry *entry = &seckill_cache_entries[i].entry;
		CacheInfo  *line = &(*lines)[n];

		if (!is_mine(entry, items))
			continue;
		SpinLockAcquire(&entry->mutex);
		line->item_id = entry->key.item_id;
		line->lease_id = entry->counters.lease_id;
		line->avail = entry->counters.avail;
		line->held = entry->counters.held;
		line->sold_out = entry->sold_out;
		line->hot = entry->hot;
		SpinLockRelease(&entry->mutex);
		n++;
	}
	LWLockRelease(seckill_cache_state->lock);
	return n;
}

/*
 * Pin the next entry of a table, from place *next on; NULL if there are no
 * more.
 */
CacheEntry *
seckill_cache_next(Oid items, int *next, int64 *item_id)
{
	CacheEntry *entry = NULL;

	if (seckill_cache_state == NULL)
		return NULL;
	seckill_cache_check_nesting();
	while (entry == NULL && *next < seckill_max_items)
	{
		CacheEntry *candidate = &seckill_cache_entries[(*next)++].entry;

		if (!is_mine(candidate, items))
			continue;
		LWLockAcquire(seckill_cache_state->lock, LW_SHARED);
		if (is_mine(candidate, items))
		{
			entry = candidate;
			*item_id = entry->key.item_id;
			seckill_cache_pin(entry);
		}
		LWLockRelease(seckill_cache_state->lock);
	}
	return entry;
}
