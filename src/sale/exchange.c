/*
 * exchange.c
 *		The share of an item that is split over nodes, as other nodes see it:
 *		locked, with all its units on the row.
 *
 * The steps of an exchange are functions of the extension seckill_cluster.
 */
#include "postgres.h"

#include "base/fault.h"
#include "sale/exchange.h"
#include "sale/item_lock.h"
#include "sale/settle.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/share_state.h"
#include "table/items.h"
#include "table/row_lock.h"
#include "xact/entry.h"
#include "xact/hold.h"

/*
 * Lock a share and put all its units on the row.  Those that other
 * transactions hold stay where they are.  The lease stays open, as after a
 * recall with holders.
 */
void
seckill_exchange_lock(int64 item_id, LockedShare *share)
{
	Purchase	p = {.item_id = item_id};
	ItemRow		row;
	TakenUnits	taken;
	OwnUnits	own;

	seckill_share_check_preloaded();
	p.entry = seckill_entry_find(item_id);
	seckill_item_lock_acquire(item_id);
	seckill_item_lock_row_anywhere(item_id, &row);
	if (row.rules.split.n == 0 || row.rules.place != PLACE_HERE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("item " INT64_FORMAT " is not split over nodes", item_id)));
	seckill_settle(&p, &row);
	share->free = row.stock;
	share->vacant = true;
	if (p.entry != NULL)
	{
		if (row.leased > 0 && seckill_hold_take_all(p.entry, &taken))
		{
			seckill_item_unlease(item_id, taken.units);
			share->free += taken.units;
		}
		seckill_hold_own_units(p.entry, &own);
		share->vacant = seckill_cache_is_vacant(p.entry, &own);
	}
	seckill_cache_unpin(p.entry);
	SECKILL_FAULT("share locked");
}

/*
 * Write over which nodes an item is split, the first being its home; none: it
 * is sold on this node alone.
 */
void
seckill_exchange_set_split(int64 item_id, const SplitNodes *split)
{
	ItemRow		row;

	seckill_item_lock_acquire(item_id);
	seckill_item_lock_row_anywhere(item_id, &row);
	if (row.rules.numbered || row.rules.legs > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("item " INT64_FORMAT " cannot be split over nodes",
						item_id),
				 errdetail("Its units are not alike."),
				 errhint("Sell several items, each on a node of its own.")));
	seckill_item_set_split(item_id, split);
	SECKILL_FAULT("split written");
}
