/*
 * place.c
 *		Where an item is sold: here, or on another node.
 *
 * An item moves to another node in steps (seckill_cluster--1.0.sql).  The first
 * one stops its sale: all its units are on its row then, no transaction holds
 * one, and none is about to change one of its orders.  After that its rows
 * stay as they are until the sale goes on, here or on the other node.
 *
 * Purchases, and all else that changes the row of the item, are stopped by the
 * row: they see the place on the row that they lock, or on the row by which
 * the fence of the cache judges.  Calls that change an order or a seat and not
 * the row take the place lock in share mode, and then look at the row.  Who
 * changes the place takes it in exclusive mode, before the item lock and the
 * row.  A node that has not joined moves no items, so these calls need no lock
 * there.
 */
#include "postgres.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/fault.h"
#include "sale/item_lock.h"
#include "sale/lease.h"
#include "sale/place.h"
#include "sale/rules.h"
#include "sale/settle.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/counters.h"
#include "shmem/numbers.h"
#include "table/item_row.h"
#include "table/items.h"
#include "table/numbered_items.h"
#include "table/row_lock.h"
#include "xact/entry.h"
#include "xact/lock.h"

static const char *const place_names[ITEM_PLACES] = {
	"here", "moving", "arriving", "gone"
};

/* Return the place of this name; raise an error if there is none. */
ItemPlace
seckill_place_of(const char *name)
{
	for (int i = 0; i < ITEM_PLACES; i++)
		if (strcmp(place_names[i], name) == 0)
			return (ItemPlace) i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no place \"%s\"", name)));
}

/*
 * For a call that reads an item or its orders: raise an error if they may have
 * changed on another node since.
 */
void
seckill_place_read(int64 item_id)
{
	ItemRow		row;

	if (seckill_item_read_latest(item_id, &row) &&
		row.rules.place != PLACE_HERE && row.rules.place != PLACE_MOVING)
		seckill_item_elsewhere(item_id, row.rules.place);
}

/* Raise an error if the item is not sold here, as far as its row tells. */
void
seckill_place_require(int64 item_id)
{
	ItemRow		row;

	if (seckill_item_read_latest(item_id, &row) &&
		row.rules.place != PLACE_HERE)
		seckill_item_elsewhere(item_id, row.rules.place);
}

/* Share the place lock until the end of the transaction. */
static bool
share(int64 item_id, bool may_wait)
{
	LOCKTAG		tag;
	bool		shared;

	seckill_lock_tag(&tag, item_id, SECKILL_LOCK_PLACE);
	shared = seckill_lock_acquire(&tag, ShareLock, may_wait);
	SECKILL_FAULT("place entered");
	return shared;
}

/*
 * For a call that changes orders of an item: keep the item here until the end
 * of the transaction.  Raises an error if it is not sold here.
 */
void
seckill_place_enter(int64 item_id)
{
	if (seckill_catalog()->node == 0)
		return;
	seckill_node_check_open();
	(void) share(item_id, true);
	seckill_place_require(item_id);
}

/*
 * Keep the item here as seckill_place_enter() does, without waiting; false if
 * its place is being changed, or if it is not sold here.
 */
bool
seckill_place_try_enter(int64 item_id)
{
	ItemRow		row;

	return seckill_catalog()->node == 0 ||
		(share(item_id, false) &&
		 (!seckill_item_read_latest(item_id, &row) ||
		  row.rules.place == PLACE_HERE));
}

/*
 * For a booking, which does not write the row of its item: keep the item here
 * as seckill_place_enter() does.  Returns false, with the outcome set, if the
 * item is not sold here.
 */
bool
seckill_place_enter_to_buy(Purchase *p)
{
	ItemRow		row;

	if (seckill_catalog()->node == 0)
		return true;
	(void) share(p->item_id, true);
	return !seckill_item_read_latest(p->item_id, &row) ||
		!seckill_rules_refuse_elsewhere(&p, 1, row.rules.place);
}

/*
 * Bring all units to the locked row, and wait for those that hold some.  The
 * lease stays open with what it has sold.
 */
static void
stop(Purchase *p, ItemRow *row)
{
	int32		numbers[NUMBERS_RING];
	int32		units;

	seckill_settle(p, row);
	units = seckill_lease_empty(p, row, numbers);
	if (units == 0)
		return;
	if (row->rules.numbered)
		seckill_numbered_unlease(p->item_id, numbers, units);
	else
		seckill_item_unlease(p->item_id, units);
	SECKILL_FAULT("units are on the row");
}

/* Raise: the item is not in the place from which it is to be moved. */
static void
check_place(int64 item_id, ItemPlace is, ItemPlace from)
{
	if (is == from)
		return;
	if (is != PLACE_HERE && from == PLACE_HERE)
		seckill_item_elsewhere(item_id, is);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("item " INT64_FORMAT " is \"%s\", not \"%s\"", item_id,
					place_names[is], place_names[from])));
}

/*
 * Change where an item is sold.  If it was sold here, its sale stops.  Waits
 * for everybody that changes the item or its orders, or holds its units.
 *
 * The entry begins a new lease before the item can be sold here again: the
 * other node may have closed the old one, and a closed one is not used again,
 * because the orders that carry it would count for it.
 */
void
seckill_place_set(int64 item_id, ItemPlace from, ItemPlace to)
{
	Purchase	p = {.item_id = item_id};
	ItemRow		row;
	LOCKTAG		tag;

	seckill_lock_tag(&tag, item_id, SECKILL_LOCK_PLACE);
	(void) seckill_lock_acquire(&tag, ExclusiveLock, true);
	SECKILL_FAULT("place locked");
	p.entry = seckill_entry_find(item_id);
	seckill_item_lock_acquire(item_id);
	seckill_item_lock_row_anywhere(item_id, &row);
	check_place(item_id, row.rules.place, from);
	if (row.rules.split.n > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("item " INT64_FORMAT " is split over nodes and is not moved",
						item_id),
				 errhint("A node with a share of it is replaced by its own failover.")));
	if (from == PLACE_HERE)
		stop(&p, &row);
	else if (p.entry != NULL)
		seckill_cache_renew_lease(p.entry, seckill_cache_lease_id(p.entry));
	seckill_item_set_place(item_id, place_names[to]);
	seckill_cache_unpin(p.entry);
	SECKILL_FAULT("place written");
}
