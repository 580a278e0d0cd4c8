/*
 * lease.c
 *		Units on their way between an item's row and the stock cache.
 *
 * Lease: under the row lock, a transaction moves units from the row's stock to
 * its leased count and will credit them to the cache when it commits.  One
 * transaction per item does this at a time, the refiller; the others wait for
 * it, not for the row.
 *
 * Settle: a row that says leased > 0 under a lease_id that no memory knows
 * lost its cache to a restart, a crash, a promotion or a restore.  Nobody can
 * hold units of it, since an entry with holders is never given up.  So under
 * the row lock the orders that carry the lease are counted, and the rest goes
 * back to the row.
 *
 * What moves a row's lease_id on is therefore either a settle (no memory, no
 * holder) or a close (nobody holds).  This invariant makes the fence sound: an
 * order that found its lease_id on the row stays accounted for until its
 * transaction ends.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/fault.h"
#include "base/settings.h"
#include "sale/await.h"
#include "sale/lease.h"
#include "sale/settle.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/cache_calls.h"
#include "shmem/counters.h"
#include "shmem/stat.h"
#include "table/items.h"
#include "xact/changes.h"
#include "xact/entry.h"
#include "xact/hold.h"

/*
 * Lease
 */

/* Move n units of the locked row to the cache; it gets them at commit. */
void
seckill_lease_move_to_cache(Purchase *p, const ItemRow *row, int32 n)
{
	int64		lease_id = seckill_cache_lease_id(p->entry);

	seckill_item_lease(p->item_id, n, lease_id);
	SECKILL_FAULT("lease written");
	seckill_hold_credit(p->entry, lease_id, n);
	SECKILL_FAULT("lease credited");
}


/*
 * Obtaining units
 */

/*
 * The item is about to be deleted, its row locked: see to it that nobody holds
 * units, as their orders may stand in the way.  Usually the lease can be
 * closed at once; with holders, all units are taken first, so that no more
 * come.  Our own holds stay: our orders are for the caller to find.  So are
 * those of lost units, whose transactions have ended.
 */
void
seckill_lease_drain(Purchase *p)
{
	TakenUnits	taken;
	OwnUnits	own;

	if (p->entry == NULL)
		return;
	while (seckill_hold_uses(p->entry, 0) ||
		   !seckill_cache_close_lease(p->entry))
	{
		(void) seckill_hold_take_all(p->entry, &taken);
		SECKILL_FAULT("lease emptied");
		seckill_hold_own_units(p->entry, &own);
		if (seckill_cache_is_vacant(p->entry, &own) ||
			seckill_await_has_lost(p->entry))
			return;
		seckill_await_holder(p->entry);
	}
}

/*
 * Take all units of an item's lease, whose row we have locked and settled, and
 * wait for those who hold some: when it returns, nobody but us holds a unit of
 * it, and nobody gets one until we end.  Returns how many it took, what we have
 * leased and not sold ourselves included.  If units are lost, all are on the
 * row then.
 */
int32
seckill_lease_empty(Purchase *p, ItemRow *row)
{
	TakenUnits	taken;
	OwnUnits	own;
	int32		units = 0;

	if (p->entry == NULL)
		return 0;
	for (;;)
	{
		seckill_hold_own_units(p->entry, &own);
		if (own.credit > 0 && seckill_hold_take(p->entry, own.credit, &taken))
			units += taken.units;
		if (seckill_hold_take_all(p->entry, &taken))
			units += taken.units;
		SECKILL_FAULT("all units taken");
		seckill_hold_own_units(p->entry, &own);
		if (seckill_cache_is_vacant(p->entry, &own))
			return units;
		if (!seckill_await_has_lost(p->entry))
			seckill_await_holder(p->entry);
		else if (seckill_await_drop_lost(p, row, units))
			units = 0;
	}
}


/*
 * By hand
 */

/*
 * Lock an item by hand and settle it; leaves its entry pinned in p.  Returns
 * how many units the settle gave back.
 */
static int32
open_item(Purchase *p, int64 item_id, ItemRow *row)
{
	int32		stock;

	memset(p, 0, sizeof(*p));
	p->item_id = item_id;
	seckill_item_lock_row(item_id, row);
	stock = row->stock;
	p->entry = seckill_entry_enter(item_id);
	seckill_settle(p, row);
	if (p->entry != NULL && seckill_await_has_lost(p->entry) &&
		!seckill_hold_uses(p->entry, 0))
		(void) seckill_await_end_lost(p, row, 0);
	return row->stock - stock;
}

int32
seckill_lease_prewarm(int64 item_id, int32 units)
{
	Purchase	p;
	ItemRow		row;

	if (seckill_change_emptied_items())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("seckill.items was truncated by this transaction"),
				 errhint("Commit first.")));
	(void) open_item(&p, item_id, &row);
	if (p.entry == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("the stock cache is full"),
				 errhint("Raise seckill.max_items, or recall items that are not hot.")));
	units = Min(units, row.stock);
	if (units > 0)
		seckill_lease_move_to_cache(&p, &row, units);
	SECKILL_FAULT("item prewarmed");
	seckill_cache_mark_hot(p.entry);
	seckill_cache_unpin(p.entry);
	return units;
}

/*
 * An item is about to open: give the cache a first lease, as it is kept up
 * later.  False if that would mean to wait for the row.
 */
bool
seckill_lease_prewarm_ahead(int64 item_id)
{
	Purchase	p = {.item_id = item_id};
	ItemRow		row;
	int32		missing;

	if (!seckill_item_try_lock_row(item_id, &row))
		return false;
	p.entry = seckill_entry_enter(item_id);
	if (p.entry == NULL)
		return true;
	seckill_settle(&p, &row);
	missing = Min(row.stock,
				  seckill_lease_units - seckill_cache_avail(p.entry));
	if (missing > 0)
	{
		seckill_lease_move_to_cache(&p, &row, missing);
		seckill_stat_count(SECKILL_STAT_PREWARMS, 1);
	}
	seckill_cache_mark_hot(p.entry);
	seckill_cache_unpin(p.entry);
	return true;
}

/*
 * Give back what the cache has.  If nobody holds units the lease is closed and
 * settled.  Otherwise it stays open for the holders, and the units that go are
 * held by this transaction until it ends, or an abort would lose them.  It also
 * stays open if this transaction has sold of its own credit: its order may not
 * be written yet, when a trigger on it calls us.
 */
int32
seckill_lease_recall(int64 item_id)
{
	Purchase	p;
	ItemRow		row;
	TakenUnits	taken = {0};
	int32		settled = open_item(&p, item_id, &row);

	if (row.leased > 0 && !seckill_hold_uses(p.entry, 0) &&
		seckill_cache_close_lease(p.entry))
	{
		int32		stock = row.stock;

		SECKILL_FAULT("lease ended");
		seckill_settle(&p, &row);
		settled += row.stock - stock;
	}
	else if (row.leased > 0 && seckill_hold_take_all(p.entry, &taken))
	{
		SECKILL_FAULT("lease recalled");
		seckill_item_unlease(item_id, taken.units);
	}
	seckill_cache_unpin(p.entry);
	return settled + taken.units;
}
