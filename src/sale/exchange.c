/*
 * exchange.c
 *		The share of an item that is split over nodes, as other nodes see it:
 *		locked, with all its units on the row.
 *
 * The steps of an exchange are functions of the extension seckill_cluster.
 */
#include "postgres.h"

#include "base/catalog.h"
#include "base/fault.h"
#include "base/number_set.h"
#include "sale/exchange.h"
#include "sale/item.h"
#include "sale/item_lock.h"
#include "sale/settle.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/share_state.h"
#include "table/items.h"
#include "table/numbered_items.h"
#include "table/row_lock.h"
#include "table/shares.h"
#include "xact/changes.h"
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
			if (taken.numbers != NULL)
				seckill_numbered_unlease(item_id, taken.numbers, taken.units);
			else
				seckill_item_unlease(item_id, taken.units);
			share->free += taken.units;
		}
		seckill_hold_own_units(p.entry, &own);
		share->vacant = seckill_cache_is_vacant(p.entry, &own);
	}
	seckill_cache_unpin(p.entry);
	SECKILL_FAULT("share locked");
}

/* Take the n lowest numbers of the row. */
static NumberSet *
lowest_numbers(const ItemRow *row, int32 n)
{
	int32	   *numbers = palloc_extended(Max(n, 1) * sizeof(int32),
										  MCXT_ALLOC_HUGE);

	seckill_numbers_take(row->numbers, numbers, n);
	return seckill_numbers_of_array(numbers, n);
}

/*
 * Move numbers into the locked row or out of it.  Meanwhile they are in no
 * place that a trigger would see which settles the item.
 */
static void
move_numbers(int64 item_id, const NumberSet *received, const NumberSet *sent)
{
	const NumberSet *moved = received->n > 0 ? received : sent;

	seckill_change_begin_work(item_id);
	seckill_change_note_moving(item_id, seckill_numbers_array(moved),
							   (int) seckill_numbers_count(moved));
	seckill_numbered_exchange(item_id, received, sent);
	seckill_change_end_work(1);
}

/*
 * Add units that another node has sent to the locked row of a share; a negative
 * number sends some.  received has the numbers of units that have come, if they
 * have some.  Returns the numbers of those that are sent, which are the lowest;
 * NULL if units are alike.
 */
NumberSet *
seckill_exchange_add(int64 item_id, int32 units, const NumberSet *received)
{
	ItemRow		row;
	NumberSet  *sent;

	seckill_item_lock_row_anywhere(item_id, &row);
	if (!row.rules.numbered)
	{
		seckill_item_exchange(item_id, units);
		return NULL;
	}
	if (received->n > 0 ? seckill_numbers_count(received) != units :
		units > 0 || units < -row.stock)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("numbers of item " INT64_FORMAT " do not agree with the units that were exchanged",
						item_id),
				 errdetail("%d units have come or gone, with " INT64_FORMAT " numbers.",
						   units, seckill_numbers_count(received))));
	sent = units < 0 ? lowest_numbers(&row, -units) : seckill_numbers_make();
	if (units != 0)
		move_numbers(item_id, received, sent);
	return sent;
}

/*
 * After a restore: this node has these numbers of an item, whose row is locked,
 * and no others.  An order with another number has given it up since the copy
 * was made, as the number has left this node, so the order ends again; likewise
 * a release of such a number was done.  What no order has is on sale, unless it
 * is off sale, or in lost: numbers of which nothing is known here.  Returns how
 * many orders have ended.
 */
int
seckill_exchange_rejoin(int64 item_id, const NumberSet *own,
						const NumberSet *lost)
{
	ItemRow		row;
	NumberSet  *off_sale;
	int			ended;

	seckill_change_begin_work(item_id);
	ended = seckill_shares_end_orders(item_id, own);
	seckill_item_lock_row_anywhere(item_id, &row);
	off_sale = seckill_numbers_minus(row.off_sale,
									 seckill_shares_end_releases(item_id, own));
	row.off_sale = seckill_numbers_minus(off_sale,
										 seckill_numbers_minus(off_sale, own));
	seckill_numbers_merge(row.off_sale, lost);
	row.numbers = seckill_numbers_make();
	seckill_numbered_overwrite(item_id, &row,
							   seckill_settle_numbers(item_id, &row, own),
							   seckill_numbers_count(own));
	seckill_change_end_work(1);
	return ended;
}

/*
 * An item is sold at home alone again.  Numbers that other nodes still have are
 * those of orders that were deleted there, and are off sale.
 */
static void
keep_off_sale(int64 item_id, const ItemRow *row)
{
	NumberSet  *numbers;

	if (!row->rules.numbered || row->rules.split.n == 0 ||
		row->rules.split.node[0] != seckill_catalog()->node)
		return;
	numbers = seckill_shares_elsewhere(item_id);
	if (numbers->n > 0)
		seckill_numbered_hide(item_id, numbers);
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
	if (row.rules.legs > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("item " INT64_FORMAT " cannot be split over nodes",
						item_id),
				 errdetail("It has seats."),
				 errhint("Sell several items, each on a node of its own.")));
	if (split->n == 0)
		keep_off_sale(item_id, &row);
	seckill_item_set_split(item_id, split);
	SECKILL_FAULT("split written");
}
