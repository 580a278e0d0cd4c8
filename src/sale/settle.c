/*
 * settle.c
 *		TODO
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
 * Settle
 */

/* Give the unsold units of a dead lease back to the row, which is locked. */
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
 * Make row and cache agree.  The caller has locked the row.  A buyer without
 * an entry looks again whether there is one by now: a lease on the row may be
 * that of an entry made since.
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
