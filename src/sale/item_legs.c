/*
 * item_legs.c
 *		The legs of an item, while bookings and new seats depend on them.
 *
 * Legs can be changed until an item has an order.  A booking does not lock the
 * row of its item, so whoever changes the legs locks the rows of all seats
 * before it looks for orders.  A booking that has a seat by then is waited
 * for; one that gets a seat later reads the row of the item after that.
 *
 * New seats that are not committed cannot be locked.  So who inserts seats, of
 * whatever item, shares a lock that excludes changes of legs: one lock, as a
 * restore inserts the seats of many items.
 */
#include "postgres.h"

#include "base/check.h"
#include "base/fault.h"
#include "sale/item_legs.h"
#include "sale/rules.h"
#include "table/item_row.h"
#include "table/orders.h"
#include "table/seats.h"
#include "xact/lock.h"

/*
 * The legs of an item are changed by this transaction, which has its row
 * locked.  Waits for bookings that are under way, and for all who insert
 * seats; later ones wait for this transaction.  Raises an error if the item
 * has orders.
 */
void
seckill_legs_change(int64 item_id)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, 0, SECKILL_LOCK_LEGS);
	(void) seckill_lock_acquire(&tag, ExclusiveLock, true);
	seckill_seats_lock_all(item_id);
	SECKILL_FAULT("legs locked");
	if (seckill_orders_exist(item_id))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("legs of item " INT64_FORMAT " cannot be changed, because it has orders",
						item_id),
				 errhint("Insert another item.")));
}

/* This transaction inserts seats: keep the legs of all items until its end. */
void
seckill_legs_keep(void)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, 0, SECKILL_LOCK_LEGS);
	(void) seckill_lock_acquire(&tag, ShareLock, true);
	SECKILL_FAULT("legs kept");
}

/*
 * This transaction has the seats of a booking locked: raise an error if the
 * trip is none of the item by now.
 */
void
seckill_legs_check(Purchase *p)
{
	ItemRow		row;

	if (!seckill_item_read_latest(p->item_id, &row))
		seckill_unknown_item(p->item_id);
	p->rules.legs = row.rules.legs;
	seckill_rules_check_kind(p);
}
