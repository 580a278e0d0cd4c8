/*
 * entry.c
 *		Cache entries, as the current transaction may use them.
 *
 * A transaction that has truncated or dropped seckill.items uses no entry
 * until it ends, because other transactions do not see its table yet.
 */
#include "postgres.h"


#include "base/catalog.h"
#include "shmem/cache.h"
#include "xact/changes.h"
#include "xact/entry.h"

/* Find and pin the entry of an item; NULL if there is none. */
CacheEntry *
seckill_entry_find(int64 item_id)
{
	if (!seckill_cache_ready() || seckill_change_emptied_items())
		return NULL;
	return seckill_cache_find(seckill_catalog()->items, item_id);
}

/*
 * Find or make the entry of an item, and pin it; NULL if all entries are in
 * use, see seckill_cache_enter().
 */
CacheEntry *
seckill_entry_enter(int64 item_id)
{
	if (!seckill_cache_ready() || seckill_change_emptied_items())
		return NULL;
	return seckill_cache_enter(seckill_catalog()->items, item_id);
}
