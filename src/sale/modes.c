/*
 * modes.c
 *		The modes: how purchases get their units and write their orders.
 *
 * A mode serves a list of purchases of one item in the caller's transaction:
 * one, or (seckill_buy_many) many of one unit each, at the cost of one.  Those
 * that come first are served first.  It leaves the outcome in each.
 *
 * Every function here runs between seckill_table_begin() and _end(), for an
 * item whose sale is open.  An error leaves nothing behind that the abort does
 * not undo.
 *
 * The row modes draw on the row first.  If it is short they take the rest from
 * the item's open lease, so that no unit is out of reach of any mode.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "base/check.h"
#include "base/fault.h"
#include "base/settings.h"
#include "sale/await.h"
#include "sale/decide.h"
#include "sale/item_lock.h"
#include "sale/modes.h"
#include "sale/refill.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/cache_calls.h"
#include "shmem/counters.h"
#include "shmem/stat.h"
#include "table/item_row.h"
#include "table/items.h"
#include "table/orders.h"
#include "xact/changes.h"
#include "xact/hold.h"

static void
set_outcome(Purchase **list, int n, SeckillOutcome outcome)
{
	for (int i = 0; i < n; i++)
		list[i]->outcome = outcome;
}

/* How many of the purchases, from the first on, do so many units serve? */
static int
served(Purchase **list, int n, int32 units)
{
	return Min(units / list[0]->quantity, n);
}

/* Sell from a row that this transaction has locked and read. */
static void
sell_locked(Purchase **list, int n, const ItemRow *row)
{
	Sale		sale;

	seckill_decide_begin(&sale, row, NULL);
	for (int i = 0; i < n; i++)
	{
		/* a limit that has come since counts this order, at least */
		list[i]->rules = row->rules;
		/* one may have found an entry that was made since */
		list[i]->entry = list[0]->entry;
		(void) seckill_decide(&sale, list[i], true);
		list[0]->entry = list[i]->entry;
	}
	SECKILL_FAULT("list decided");
	seckill_decide_end(&sale, list[0]->item_id);
	SECKILL_FAULT("locked row written");
	seckill_decide_orders(list, n);
}

static void
lock_and_sell(Purchase **list, int n)
{
	ItemRow		row;

	seckill_item_lock_row(list[0]->item_id, &row);
	sell_locked(list, n, &row);
}

/* The units are taken: write the orders. */
static void
sold(Purchase **list, int n)
{
	SECKILL_FAULT("row written");
	set_outcome(list, n, SECKILL_SOLD);
	seckill_decide_orders(list, n);
}


/*
 * none: read, check, write back.  What goes wrong without control.
 */
static void
buy_none(Purchase **list, int n)
{
	ItemRow		row;
	int			k;

	if (!seckill_item_read_snapshot(list[0]->item_id, &row))
		seckill_unknown_item(list[0]->item_id);
	k = served(list, n, row.stock);
	set_outcome(list + k, n - k, SECKILL_SOLD_OUT);
	if (k == 0)
		return;
	sold(list, k);
	seckill_item_overwrite(list[0]->item_id,
						   row.stock - k * list[0]->quantity);
}


/*
 * optimistic: read the version, update where it is still the same (Kung and
 * Robinson, 1981).  A lost race is a conflict.
 */

/* The snapshot's row tells no buyer "sold out" if it is not the newest. */
static void
check_newest(const Purchase *p, const ItemRow *row)
{
	ItemRow		newest;

	if (!IsolationUsesXactSnapshot())
		return;
	if (!seckill_item_read_latest(p->item_id, &newest) ||
		newest.version != row->version || newest.stock != row->stock)
		seckill_serialization_failure();
}

/*
 * The row is short, but units of its lease may do.  They are taken under the
 * row lock only: who has the row locked may be waiting for holders of units,
 * so a holder must not wait for the row.
 */
static void
buy_version_locked(Purchase **list, int n, int64 version)
{
	ItemRow		row;

	seckill_item_lock_row(list[0]->item_id, &row);
	if (row.version == version)
		sell_locked(list, n, &row);
	else
		set_outcome(list, n, SECKILL_CONFLICT);
}

static void
buy_version(Purchase **list, int n, int64 version)
{
	Purchase   *p = list[0];

	if (seckill_item_sell_version(p->item_id, n * p->quantity, version))
		sold(list, n);
	else
		set_outcome(list, n, SECKILL_CONFLICT);
}

static void
buy_optimistic(Purchase **list, int n)
{
	Purchase   *p = list[0];

	for (;;)
	{
		uint64		generation = seckill_await_generation(p);
		ItemRow		row;

		CHECK_FOR_INTERRUPTS();
		if (!seckill_item_read_snapshot(p->item_id, &row))
			seckill_unknown_item(p->item_id);
		if (served(list, n, row.stock) == n)
		{
			buy_version(list, n, row.version);
			return;
		}
		check_newest(p, &row);
		if (row.stock < p->quantity)
			switch (seckill_await_judge(p, &row, generation))
			{
				case UNITS_SOLD_OUT:
					set_outcome(list, n, SECKILL_SOLD_OUT);
					return;
				case UNITS_WAIT:
					seckill_await_units(p);
					continue;
				case UNITS_RETRY:
				case UNITS_REFILL:
					break;
			}
		buy_version_locked(list, n, row.version);
		return;
	}
}


/*
 * retry: optimistic, again at once under a fresh snapshot.
 */
static void
buy_retry(Purchase **list, int n)
{
	buy_optimistic(list, n);
	for (int i = 0; list[0]->outcome == SECKILL_CONFLICT &&
		 i < seckill_max_retries; i++)
	{
		if (list[0]->entry != NULL)
			seckill_cache_record_conflict(list[0]->entry);
		seckill_stat_note_retry();
		buy_optimistic(list, n);
	}
}


/*
 * pessimistic: lock the row, then update it.
 */
static void
buy_pessimistic(Purchase **list, int n)
{
	seckill_item_lock_acquire(list[0]->item_id);
	lock_and_sell(list, n);
}


/*
 * advisory: the line alone, then update.
 */
static void
buy_advisory(Purchase **list, int n)
{
	seckill_item_lock_acquire(list[0]->item_id);
	if (seckill_item_sell(list[0]->item_id, n * list[0]->quantity))
		sold(list, n);
	else
		lock_and_sell(list, n);
}


/*
 * cache: hold units of the lease, write the order behind the fence.
 *
 * The fence: the row must carry the lease that the units are of, as read after
 * they were taken.  It then stays there until this transaction has ended (see
 * lease.c).  lease_id is a fencing token (Gray and Cheriton's leases, 1989).
 */

/* The fence found another lease on the row: forget ours. */
static void
drop_stale_lease(Purchase *p, const TakenUnits *taken)
{
	ItemRow		row;

	SECKILL_FAULT("fence has stopped the order");
	seckill_hold_return(p->entry, taken);
	SECKILL_FAULT("units returned");
	if (!seckill_item_read_latest(p->item_id, &row))
		seckill_unknown_item(p->item_id);
	if (row.lease_id != taken->lease_id)
		seckill_cache_renew_lease(p->entry, taken->lease_id);
	if (IsolationUsesXactSnapshot())
		seckill_serialization_failure();
}

/* How many units are left for a list that was too long, as far as one sees. */
static int32
units_left(const Purchase *p)
{
	ItemRow		row;
	OwnUnits	own;
	int64		left;

	seckill_hold_own_units(p->entry, &own);
	left = (int64) own.credit + seckill_cache_avail(p->entry);
	if (seckill_item_read_latest(p->item_id, &row))
		left += row.stock;
	return (int32) Max(Min(left, p->quantity - 1), 1);
}

/*
 * Put units for the first purchases of a list on hold, as many as there are.
 * What the cache lacks is leased before any are: a buyer who has locked the row
 * may be waiting for holders of units, so a holder must not wait for the row.
 */
static bool
take_for_list(Purchase **list, int n, TakenUnits *taken)
{
	Purchase	whole = *list[0];

	for (whole.quantity = n; whole.quantity > 1;
		 whole.quantity = units_left(&whole))
		if (seckill_refill_obtain(&whole, taken))
			return true;
	return seckill_refill_obtain(list[0], taken);
}

/* Put units for the first of the list on hold, and for more if they are there. */
static bool
take(Purchase **list, int n, TakenUnits *taken)
{
	Purchase   *p = list[0];

	if (!seckill_hold_take(p->entry, n * p->quantity, taken))
		return n == 1 ? seckill_refill_obtain(p, taken) :
			take_for_list(list, n, taken);
	if (taken->low)
		seckill_refill_ahead(p);
	return true;
}

static void
buy_cache(Purchase **list, int n)
{
	TakenUnits	taken;

	while (n > 0 && take(list, n, &taken))
	{
		int			k = served(list, n, taken.units);

		SECKILL_FAULT("units held");
		if (seckill_orders_insert_fenced(list, k, taken.lease_id))
		{
			SECKILL_FAULT("order is behind the fence");
			set_outcome(list, k, SECKILL_SOLD);
			list += k;
			n -= k;
			if (n > 0)
				list[0]->batch_size = n;
		}
		else
			drop_stale_lease(list[0], &taken);
	}
	set_outcome(list, n, SECKILL_SOLD_OUT);
}

/*
 * The mode that sells for the one that was asked for.  auto takes the cache
 * for a hot item.  Where the cache has no place for the item, or the
 * transaction none for another hold, a row mode sells.
 */
static SeckillMode
choose(const Purchase *p, int n)
{
	bool		can_hold = p->entry != NULL && seckill_hold_has_slot();

	if (p->mode == SECKILL_MODE_AUTO)
		return can_hold && seckill_cache_record_calls(p->entry, n) ?
			SECKILL_MODE_CACHE : SECKILL_MODE_RETRY;
	if (p->mode == SECKILL_MODE_CACHE && !can_hold)
		return SECKILL_MODE_ADVISORY;
	return p->mode;
}

/*
 * May the caller join those who are in a row mode already?  Where there is no
 * entry nobody counts them.
 */
static bool
may_join(const Purchase *p, SeckillMode mode)
{
	int32		max_waiters = p->rules.max_waiters >= 0 ?
		p->rules.max_waiters : seckill_max_waiters;

	if (max_waiters == 0 || p->entry == NULL ||
		mode < SECKILL_MODE_OPTIMISTIC || mode > SECKILL_MODE_ADVISORY)
		return true;
	return seckill_cache_join(p->entry, max_waiters);
}

static void
run(SeckillMode mode, Purchase **list, int n)
{
	switch (mode)
	{
		case SECKILL_MODE_NONE:
			buy_none(list, n);
			break;
		case SECKILL_MODE_OPTIMISTIC:
			buy_optimistic(list, n);
			break;
		case SECKILL_MODE_RETRY:
			buy_retry(list, n);
			break;
		case SECKILL_MODE_PESSIMISTIC:
			buy_pessimistic(list, n);
			break;
		case SECKILL_MODE_ADVISORY:
			buy_advisory(list, n);
			break;
		case SECKILL_MODE_CACHE:
			buy_cache(list, n);
			break;
		case SECKILL_MODE_QUEUE:
		case SECKILL_MODE_AUTO:
			pg_unreachable();
	}
}

/*
 * Serve purchases of one item by one mode, which have the entry of the first
 * in common; of one unit each if there is more than one.
 */
void
seckill_modes_run(Purchase **list, int n)
{
	SeckillMode mode = choose(list[0], n);

	list[0]->batch_size = n;
	for (int i = 0; i < n; i++)
		list[i]->selling_mode = mode;
	if (!may_join(list[0], mode))
	{
		set_outcome(list, n, SECKILL_BUSY);
		return;
	}
	seckill_change_begin_work(list[0]->item_id);
	run(mode, list, n);
	seckill_change_end_work(1);
}
