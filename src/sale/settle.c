/*
 * settle.c
 *		Settling an item: making its locked row and its cache entry agree.
 *
 * A row with leased > 0 and a lease_id that no cache entry has, has a dead
 * lease: the entry was lost to a restart, a crash, a promotion or a restore,
 * or has closed that lease.  No transaction can hold units of it, as an entry
 * with holders is never given up.  So under the row lock the units of orders
 * that carry the lease are counted, and the others return to the row.
 *
 * Everything here runs under the lock of the item's row.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/fault.h"
#include "sale/settle.h"
#include "seckill.h"
#include "shmem/cache_counters.h"
#include "shmem/stat.h"
#include "table/items.h"
#include "table/orders.h"
#include "xact/entry.h"

/*
 * Return the unsold units of a dead lease to the locked row, and update *row.
 * Raises an error if more units are ordered than were leased.
 */
static void
settle_dead_lease(int64 item_id, ItemRow *row)
{
	int64		sold = seckill_orders_sold_on_lease(item_id, row->lease_id);
	int64		unsold = row->leased - sold;

	if (unsold < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("item " INT64_FORMAT " has more orders under its lease than units leased",
						item_id),
				 errdetail("%d units leased, " INT64_FORMAT " sold.",
						   row->leased, sold),
				 errhint("See seckill_audit() and what changed seckill.items or seckill.orders by hand.")));
	seckill_item_close_lease(item_id, (int32) unsold);
	SECKILL_FAULT("dead lease closed");
	seckill_stat_count(SECKILL_STAT_SETTLES, 1);
	seckill_stat_count(SECKILL_STAT_SETTLED_UNITS, unsold);
	ereport(LOG,
			(errmsg("settled item " INT64_FORMAT ": " INT64_FORMAT " of %d leased units returned to stock",
					item_id, unsold, row->leased)));
	row->stock += (int32) unsold;
	row->leased = 0;
	row->lease_id = 0;
	row->version++;
}

/*
 * Make the cache entry and the row agree.  The caller has locked the row.  A
 * stale lease of the entry is renewed; a dead lease of the row is closed, and
 * *row is updated.  A purchase without an entry looks it up first, and pins
 * it: the lease on the row may belong to an entry that was made since.
 */
void
seckill_settle(Purchase *p, ItemRow *row)
{
	if (p->entry == NULL)
		p->entry = seckill_entry_find(p->item_id);
	if (p->entry != NULL && seckill_cache_is_stale(p->entry, row))
		seckill_cache_renew_lease(p->entry, seckill_cache_lease_id(p->entry));
	if (row->leased > 0 &&
		(p->entry == NULL ||
		 row->lease_id != seckill_cache_lease_id(p->entry)))
		settle_dead_lease(p->item_id, row);
}
