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
StockEntry *
seckill_entry_find(int64 item_id)
{
	if (!seckill_stock_ready() || seckill_xact_emptied_items())
		return NULL;
	return seckill_stock_find(seckill_catalog()->items, item_id);
}

/* Find or make the entry, as seckill_stock_enter() does, and pin it. */
StockEntry *
seckill_entry_enter(int64 item_id)
{
	if (!seckill_stock_ready() || seckill_xact_emptied_items())
		return NULL;
	return seckill_stock_enter(seckill_catalog()->items, item_id);
}
