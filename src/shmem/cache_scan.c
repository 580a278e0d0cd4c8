/*
 * cache_scan.c
 *		Operations on many cache entries, and on entries that are not pinned.
 *
 * Changed rows and dropped tables are announced here when their transaction
 * commits; views list the entries.
 *
 * A scan has the LWLock of the cache in shared mode, exclusively if it evicts
 * entries, and takes the spinlock of each entry that it reads or changes.
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
 * Is it an entry of this table of the current database?  Without the LWLock or
 * a pin, only a hint.
 */
static bool
is_mine(const CacheEntry *entry, Oid items)
{
	return entry->live && entry->key.dbid == MyDatabaseId &&
		entry->key.items == items;
}


/*
 * Changes of the tables, at commit
 */

/*
 * The row of an item has changed: forget its rules.  For a commit callback;
 * does not raise.
 */
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

/*
 * Any row of this table may have changed: forget the rules of all its entries.
 * For a commit callback; does not raise.
 */
void
seckill_cache_rows_changed(Oid items)
{
	LWLockAcquire(seckill_cache_state->lock, LW_SHARED);
	for (int i = 0; i < seckill_max_items; i++)
	{
		CacheEntry *entry = &seckill_cache_entries[i].entry;

		if (is_mine(entry, items))
			seckill_cache_forget_rules(entry);
	}
	LWLockRelease(seckill_cache_state->lock);
}

/*
 * Forget the units of the entries of a database, or of one of its tables, and
 * evict them.  The tables are gone.  A backend that still has a pin on an
 * entry keeps it from being evicted, and its order is stopped by the fence.
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

/* Is there an entry of this table of the current database? */
bool
seckill_cache_has_table(Oid items)
{
	bool		found = false;

	LWLockAcquire(seckill_cache_state->lock, LW_SHARED);
	for (int i = 0; i < seckill_max_items && !found; i++)
		found = is_mine(&seckill_cache_entries[i].entry, items);
	LWLockRelease(seckill_cache_state->lock);
	return found;
}

/*
 * A table is dropped or truncated: drop its entries.  For a commit callback;
 * does not raise.
 */
void
seckill_cache_drop_table(Oid items)
{
	drop_entries(MyDatabaseId, items);
}

/*
 * A database is dropped: drop its entries.  For a commit callback; does not
 * raise.
 */
void
seckill_cache_drop_database(Oid dbid)
{
	drop_entries(dbid, InvalidOid);
}


/*
 * Copy the entries of a table into *rows, which is palloc'd, and return their
 * number.
 */
int
seckill_cache_list(Oid items, CacheInfo **rows)
{
	int			n = 0;

	*rows = NULL;
	if (seckill_cache_state == NULL)
		return 0;
	*rows = palloc_extended(mul_size(seckill_max_items, sizeof(CacheInfo)),
							MCXT_ALLOC_HUGE);
	LWLockAcquire(seckill_cache_state->lock, LW_SHARED);
	for (int i = 0; i < seckill_max_items; i++)
	{
		CacheEntry *entry = &seckill_cache_entries[i].entry;
		CacheInfo  *row = &(*rows)[n];

		if (!is_mine(entry, items))
			continue;
		SpinLockAcquire(&entry->mutex);
		row->item_id = entry->key.item_id;
		row->lease_id = entry->counters.lease_id;
		row->avail = entry->counters.avail;
		row->held = entry->counters.held;
		row->sold_out = entry->sold_out;
		row->hot = entry->hot;
		SpinLockRelease(&entry->mutex);
		n++;
	}
	LWLockRelease(seckill_cache_state->lock);
	return n;
}

/*
 * Pin and return the next entry of a table, from index *next on; NULL if there
 * are no more.  Raises if there is no free pin slot.
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
