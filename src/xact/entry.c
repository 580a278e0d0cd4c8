/*
 * entry.c
 *		TODO
 */
#include "postgres.h"

#include "replication/walsender.h"

#include "base/catalog.h"
#include "shmem/cache.h"
#include "xact/changes.h"
#include "xact/entry.h"

/*
 * Entries of the cache
 */

/*
 * Find and pin the entry of an item; NULL if it has none.  A transaction that
 * emptied the table has none either: what is on its rows is not yet true.
 */
CacheEntry *
seckill_entry_find(int64 item_id)
{
	if (!seckill_cache_ready() || seckill_change_emptied_items())
		return NULL;
	return seckill_cache_find(seckill_catalog()->items, item_id);
}

/* Find or make the entry, as seckill_cache_enter() does, and pin it. */
CacheEntry *
seckill_entry_enter(int64 item_id)
{
	if (!seckill_cache_ready() || seckill_change_emptied_items())
		return NULL;
	return seckill_cache_enter(seckill_catalog()->items, item_id);
}
