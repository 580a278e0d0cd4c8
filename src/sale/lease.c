/*
 * lease.c
 *		The life of a lease: units on their way between row and cache.
 *
 * Under the row lock, a transaction moves units from the row's stock to its
 * leased count; the cache entry gets them when the transaction commits.  A
 * refill does this (refill.c), seckill_prewarm(), and the maintenance worker
 * before an opening; seckill_recall() returns the units.  Before an item is
 * deleted or its stock is set, its lease is emptied here.
 *
 * The lease_id of a row changes only when the lease is settled or closed.  A
 * settle finds that no entry has the lease, so nobody holds units of it
 * (settle.c); a close finds that nobody holds any.  This makes the fence
 * sound: an order that found its lease_id on the row stays accounted for until
 * its transaction ends.
 *
 * Every function here has or takes the lock of the item's row.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/fault.h"
#include "base/number_set.h"
#include "base/settings.h"
#include "sale/await.h"
#include "sale/lease.h"
#include "sale/settle.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_calls.h"
#include "shmem/cache_counters.h"
#include "shmem/cache_numbers.h"
#include "shmem/counters.h"
#include "shmem/stat.h"
#include "table/items.h"
#include "table/numbered_items.h"
#include "table/row_lock.h"
#include "xact/changes.h"
#include "xact/entry.h"
#include "xact/hold.h"

/*
 * Move the first numbers of the locked row to the cache, n or as many as the
 * entry has room for, and take them out of *row; returns how many.
 */
static int32
move_numbers(Purchase *p, ItemRow *row, int32 n)
{
	int64		lease_id = seckill_cache_lease_id(p->entry);
	int32	   *numbers;

	n = Min(n, seckill_cache_number_room(p->entry));
	if (n <= 0)
		return 0;
	numbers = palloc(n * sizeof(int32));
	seckill_numbers_take(row->numbers, numbers, n);
	if (!seckill_hold_credit_numbers(p->entry, lease_id, numbers, n))
		return 0;
	SECKILL_FAULT("numbers credited");
	seckill_numbered_lease(p->item_id, numbers, n, lease_id);
	return n;
}

/*
 * Move n units of the locked row to the cache, which gets them at commit;
 * returns how many were moved.  If the units have numbers, those are fewer, or
 * none, where the entry has no room for them.
 *
 * The units are credited before the row is written: a trigger that the write
 * fires finds each unit once, on the row or as credit.  If the write fails, the
 * abort takes the credit back.
 */
int32
seckill_lease_move_to_cache(Purchase *p, ItemRow *row, int32 n)
{
	int64		lease_id = seckill_cache_lease_id(p->entry);

	if (row->rules.numbered)
		n = move_numbers(p, row, n);
	else
	{
		seckill_hold_credit(p->entry, lease_id, n);
		SECKILL_FAULT("lease credited");
		seckill_item_lease(p->item_id, n, lease_id);
	}
	SECKILL_FAULT("lease written");
	return n;
}


/*
 * Emptying
 */

/*
 * Before an item is deleted, wait until no other transaction holds units of
 * it, as their orders may prevent the deletion.  The caller has locked the
 * row.
 *
 * Usually the lease can be closed at once.  With holders, all available units
 * are taken first, so that no more holders come.  The lease stays open while
 * this transaction has units of it: the caller finds its own orders itself.
 * Lost units stay too, as the transactions that held them have ended.
 */
void
seckill_lease_drain(Purchase *p)
{
	TakenUnits	taken;
	OwnUnits	own;

	if (p->entry == NULL)
		return;
	while (seckill_hold_uses(p->entry, 0) ||
		   !seckill_cache_close_lease(p->entry, PG_INT32_MAX))
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

/* Add units that were taken, and their numbers, to those taken before. */
static void
add_taken(const TakenUnits *taken, int32 *numbers, int32 *units)
{
	if (taken->numbers != NULL)
		memcpy(numbers + *units, taken->numbers, taken->units * sizeof(int32));
	*units += taken->units;
}

/*
 * Take all units of an item's lease, and wait for their holders.  The caller
 * has locked and settled the row.  On return no other transaction holds a
 * unit, and none gets one until this transaction ends.  Returns the number of
 * units taken, which includes what this transaction has leased and not sold;
 * their numbers, if they have some, go to an array of NUMBERS_RING elements.  If
 * units are lost, the lease is ended, and all its units are on the row.
 */
int32
seckill_lease_empty(Purchase *p, ItemRow *row, int32 *numbers)
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
			add_taken(&taken, numbers, &units);
		if (seckill_hold_take_all(p->entry, &taken))
			add_taken(&taken, numbers, &units);
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
 * Prewarming and recalling
 */

/*
 * Lock an item's row, settle it and end a lease with lost units; leaves the
 * entry, made if there is none, pinned in p.  Returns the number of units that
 * returned to the row.
 */
static int32
lock_and_settle(Purchase *p, int64 item_id, ItemRow *row)
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

/* Move units to the cache; raises an error if it has no number ring left. */
static int32
move_or_raise(Purchase *p, ItemRow *row, int32 units)
{
	units = seckill_lease_move_to_cache(p, row, units);
	if (units == 0 && !seckill_cache_is_numbered(p->entry))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("the stock cache has too many items with numbered units"),
				 errhint("Raise seckill.max_numbered_items, or recall items that are not hot.")));
	return units;
}

/*
 * Lease units to the cache and mark the item hot, for seckill_prewarm().
 * Returns how many were leased: at most what is on the row, and of units with
 * numbers at most what the entry has room for.  Raises an error if the cache is
 * full.
 */
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
	(void) lock_and_settle(&p, item_id, &row);
	if (p.entry == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("the stock cache is full"),
				 errhint("Raise seckill.max_items, or recall items that are not hot.")));
	units = Min(units, row.stock);
	if (units > 0)
		units = move_or_raise(&p, &row, units);
	SECKILL_FAULT("item prewarmed");
	seckill_cache_mark_hot(p.entry);
	seckill_cache_unpin(p.entry);
	return units;
}

/*
 * Give an item that is about to open a first lease of seckill.lease_units, and
 * mark it hot.  Returns false if others have locked the row.
 */
bool
seckill_lease_prewarm_ahead(int64 item_id)
{
	Purchase	p = {.item_id = item_id};
	ItemRow		row;
	int32		missing;

	if (!seckill_item_try_lock_row(item_id, &row))
		return false;
	if (row.rules.place != PLACE_HERE)
		return true;
	p.entry = seckill_entry_enter(item_id);
	if (p.entry == NULL)
		return true;
	seckill_settle(&p, &row);
	missing = Min(row.stock,
				  seckill_lease_units - seckill_cache_avail(p.entry));
	if (missing > 0)
	{
		(void) seckill_lease_move_to_cache(&p, &row, missing);
		seckill_stat_count(SECKILL_STAT_PREWARMS, 1);
	}
	seckill_cache_mark_hot(p.entry);
	seckill_cache_unpin(p.entry);
	return true;
}

/*
 * Return the units of the cache to the row, for seckill_recall().  Returns how
 * many.
 *
 * If no transaction holds units, the lease is closed and settled.  Otherwise
 * it stays open for the holders, and this transaction holds the units that it
 * returns until it ends, because an abort would otherwise lose them.  The
 * lease also stays open if this transaction has sold of its own credit: it may
 * be called by a trigger on the order, which is not written yet.
 */
int32
seckill_lease_recall(int64 item_id)
{
	Purchase	p;
	ItemRow		row;
	TakenUnits	taken = {0};
	int32		settled = lock_and_settle(&p, item_id, &row);

	if (row.leased > 0 && !seckill_hold_uses(p.entry, 0) &&
		seckill_cache_close_lease(p.entry, PG_INT32_MAX - row.stock))
	{
		int32		stock = row.stock;

		SECKILL_FAULT("lease ended");
		seckill_settle(&p, &row);
		settled += row.stock - stock;
	}
	else if (row.leased > 0 && seckill_hold_take_all(p.entry, &taken))
	{
		SECKILL_FAULT("lease recalled");
		if (taken.units > PG_INT32_MAX - row.stock)
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("item " INT64_FORMAT " would have too many units on its row",
							item_id),
					 errhint("Take some off sale with seckill_restock(), with a negative number.")));
		if (taken.numbers != NULL)
			seckill_numbered_unlease(item_id, taken.numbers, taken.units);
		else
			seckill_item_unlease(item_id, taken.units);
	}
	seckill_cache_unpin(p.entry);
	return settled + taken.units;
}
