/*
 * modes.c
 *		The modes: how purchases get their units and write their orders.
 *
 * A mode serves a list of purchases of one item in the caller's transaction, a
 * single one or many at the cost of one.  The list has them in the order of
 * their addresses, in which they are served.  Each gets its outcome: one that
 * wants more units than the earlier ones leave is sold out, and a later one
 * may be sold.
 *
 * Every function here runs between seckill_table_begin() and
 * seckill_table_end(), for an item whose sale is open.  If it raises an error,
 * the abort of the transaction undoes all that it has done.
 *
 * The row modes (optimistic, retry, pessimistic, advisory) take units from the
 * row first, and what the row lacks from the item's open lease, so that every
 * mode can sell every unit.
 *
 * Locks are taken in the order item lock, row.  A transaction that has locked
 * the row may wait for holders of units.  So a purchase must not wait for the
 * row while it holds units.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "base/check.h"
#include "base/fault.h"
#include "base/number_set.h"
#include "base/settings.h"
#include "sale/await.h"
#include "sale/book.h"
#include "sale/decide.h"
#include "sale/item_lock.h"
#include "sale/modes.h"
#include "sale/refill.h"
#include "sale/rules.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_calls.h"
#include "shmem/cache_counters.h"
#include "shmem/counters.h"
#include "shmem/stat.h"
#include "table/item_row.h"
#include "table/items.h"
#include "table/numbered_items.h"
#include "table/order_insert.h"
#include "table/row_lock.h"
#include "xact/changes.h"
#include "xact/hold.h"

static void
set_outcome(Purchase **list, int n, SeckillOutcome outcome)
{
	for (int i = 0; i < n; i++)
		list[i]->outcome = outcome;
}

/* Return the units that the purchases want. */
static int64
wanted(Purchase **list, int n)
{
	int64		units = 0;

	for (int i = 0; i < n; i++)
		units += list[i]->quantity;
	return units;
}

/* Return a purchase of the list that wants the fewest units. */
static Purchase *
smallest(Purchase **list, int n)
{
	Purchase   *p = list[0];

	for (int i = 1; i < n; i++)
		if (list[i]->quantity < p->quantity)
			p = list[i];
	return p;
}

static int
compare_positions(const void *a, const void *b)
{
	const Purchase *p = *(Purchase *const *) a;
	const Purchase *q = *(Purchase *const *) b;

	return p < q ? -1 : p > q;
}

/* Undo what serve() has done to the order of the list. */
static void
restore_order(Purchase **list, int n)
{
	qsort(list, n, sizeof(Purchase *), compare_positions);
}

/*
 * Move the purchases that the units are enough for to the front, in their
 * order, and return their number.  Each in turn takes its units, if that many
 * are left.
 */
static int
serve(Purchase **list, int n, int64 units)
{
	Purchase  **rest = palloc(n * sizeof(Purchase *));
	int			served = 0;

	for (int i = 0; i < n; i++)
		if (list[i]->quantity <= units)
		{
			units -= list[i]->quantity;
			list[served++] = list[i];
		}
		else
			rest[i - served] = list[i];
	memcpy(list + served, rest, (n - served) * sizeof(Purchase *));
	pfree(rest);
	return served;
}

/* Decide the purchases on a row that this transaction has locked and read. */
static void
sell_locked(Purchase **list, int n, const ItemRow *row)
{
	Sale		sale;

	seckill_decide_begin(&sale, row, NULL);
	for (int i = 0; i < n; i++)
	{
		/* the order counts against a limit that was set since the check */
		list[i]->rules = row->rules;
		/* an earlier one may have found an entry that was made since */
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

	seckill_item_lock_row_anywhere(list[0]->item_id, &row);
	sell_locked(list, n, &row);
}

/* Write the orders, once the units are taken from the row. */
static void
sold(Purchase **list, int n)
{
	SECKILL_FAULT("row written");
	set_outcome(list, n, SECKILL_SOLD);
	seckill_decide_orders(list, n);
}


/*
 * none: read, check, write back; shows what fails without concurrency control.
 */
static void
buy_none(Purchase **list, int n)
{
	ItemRow		row;
	int			k;

	if (!seckill_item_read_snapshot(list[0]->item_id, &row))
		seckill_unknown_item(list[0]->item_id);
	if (seckill_rules_refuse_elsewhere(list, n, row.rules.place))
		return;
	k = serve(list, n, row.stock);
	set_outcome(list + k, n - k, SECKILL_SOLD_OUT);
	if (k == 0)
		return;
	sold(list, k);
	seckill_item_overwrite(list[0]->item_id,
						   (int32) (row.stock - wanted(list, k)));
}


/*
 * optimistic: read the version, update where it is still the same (Kung and
 * Robinson, 1981).  If another transaction was faster, this is a conflict.
 */

/*
 * Raise a serialization failure if the row of the transaction's snapshot is
 * not the newest one, which alone can prove "sold out".
 */
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
 * Sell under the row lock, if the version is still the same.  This is for a
 * row that is short, while its lease may have units.  They are taken only
 * under the row lock, as a purchase must not wait for the row while it holds
 * units.
 */
static void
buy_version_locked(Purchase **list, int n, int64 version)
{
	ItemRow		row;

	seckill_item_lock_row_anywhere(list[0]->item_id, &row);
	if (row.version == version)
		sell_locked(list, n, &row);
	else
		set_outcome(list, n, SECKILL_CONFLICT);
}

/* Sell the first numbers of the row, if the version is still the same. */
static bool
sell_numbers(Purchase **list, int n, const ItemRow *row)
{
	int32	   *numbers = palloc(n * sizeof(int32));

	seckill_numbers_take(row->numbers, numbers, n);
	for (int i = 0; i < n; i++)
		list[i]->unit = numbers[i];
	seckill_change_note_moving(list[0]->item_id, numbers, n);
	if (seckill_numbered_sell_version(list[0]->item_id, row->version, numbers,
									  n))
		return true;
	seckill_change_note_moving(list[0]->item_id, NULL, 0);
	return false;
}

/* Sell from the row alone, if the version is still the same. */
static void
buy_version(Purchase **list, int n, const ItemRow *row)
{
	for (int i = 0; i < n; i++)
		list[i]->unit = 0;		/* an earlier try may have dealt some */
	if (row->rules.numbered ? sell_numbers(list, n, row) :
		seckill_item_sell_version(list[0]->item_id, (int32) wanted(list, n),
								  row->version))
		sold(list, n);
	else
		set_outcome(list, n, SECKILL_CONFLICT);
}

static void
buy_optimistic(Purchase **list, int n)
{
	Purchase   *p = smallest(list, n);

	for (;;)
	{
		uint64		generation = seckill_await_generation(p->entry);
		ItemRow		row;

		CHECK_FOR_INTERRUPTS();
		if (!seckill_item_read_snapshot(p->item_id, &row))
			seckill_unknown_item(p->item_id);
		if (seckill_rules_refuse_elsewhere(list, n, row.rules.place))
			return;
		if (wanted(list, n) <= row.stock)
		{
			buy_version(list, n, &row);
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
 * retry: optimistic, retried at once with a fresh snapshot.
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
 * pessimistic: lock the row, decide, update it.
 */
static void
buy_pessimistic(Purchase **list, int n)
{
	seckill_item_lock_acquire(list[0]->item_id);
	lock_and_sell(list, n);
}


/*
 * advisory: take the item lock, update the row without locking it first.  Units
 * with numbers are dealt from the locked row.
 */
static void
buy_advisory(Purchase **list, int n)
{
	int64		units = wanted(list, n);

	seckill_item_lock_acquire(list[0]->item_id);
	if (!list[0]->rules.numbered && units <= PG_INT32_MAX &&
		seckill_item_sell(list[0]->item_id, (int32) units))
		sold(list, n);
	else
		lock_and_sell(list, n);
}


/*
 * cache: put units of the lease on hold, write the order behind the fence.
 *
 * The fence: the order is written only if the row, read after the units were
 * taken, carries the lease of these units.  The lease then stays on the row
 * until this transaction has ended (see lease.c).  lease_id is a fencing token
 * (Gray and Cheriton's leases, 1989).
 */

/*
 * The fence found another lease on the row: return the units, and renew the
 * entry's lease if the latest row confirms that.  Raises a serialization
 * failure if the transaction's snapshot does not change.
 */
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

/*
 * Return the units that are left for a list that wants more; -1 if this cannot
 * be told because others hold units, or because row or cache have changed
 * since they were read.
 */
static int64
units_left(const Purchase *whole)
{
	uint64		generation = seckill_await_generation(whole->entry);
	ItemRow		row;
	LeaseCounters counters;
	OwnUnits	own;

	if (!seckill_item_read_latest(whole->item_id, &row))
		seckill_unknown_item(whole->item_id);
	seckill_hold_own_units(whole->entry, &own);
	seckill_cache_read_counters(whole->entry, &counters);
	if (counters_judge(&counters, generation, &row, whole->quantity,
					   &own) != UNITS_SOLD_OUT)
		return -1;
	return (int64) row.stock + counters.avail + own.credit;
}

/*
 * Put units on hold for all purchases of the list, waiting as a single
 * purchase of that many units does.  Returns false if there are fewer, and
 * none can come back, or with no_room of the first set.
 */
static bool
obtain(Purchase **list, int n, TakenUnits *taken)
{
	Purchase	whole = *list[0];
	bool		obtained;

	whole.quantity = (int32) wanted(list, n);
	whole.batch_size = n;
	obtained = seckill_refill_obtain(&whole, taken);
	list[0]->no_room = whole.no_room;
	list[0]->rules.place = whole.rules.place;
	return obtained;
}

/*
 * Put units on hold for those purchases of a list that there are units for, in
 * their order.  They are moved to the front; returns their number.  The others
 * are sold out.
 *
 * The transaction must not hold units of the item while it waits for the row
 * or for other holders, as these may be waiting for it.  So what is left is
 * proved first, and then taken in one step.  If others were faster, or units
 * have come back, it begins again.
 */
static int
take_for_list(Purchase **list, int n, TakenUnits *taken)
{
	Purchase	whole = *list[0];

	whole.quantity = (int32) wanted(list, n);
	while (!obtain(list, n, taken))
	{
		int64		left;
		int			k;

		if (list[0]->no_room || list[0]->rules.place != PLACE_HERE)
			return 0;
		left = units_left(&whole);
		SECKILL_FAULT("units left counted");
		if (left < 0)
			continue;
		k = serve(list, n, left);
		if (k == 0 || obtain(list, k, taken))
			return k;
		restore_order(list, n);
	}
	return n;
}

/*
 * Put units on hold for purchases of the list, and move these to the front;
 * returns their number.  The others are sold out.
 */
static int
take(Purchase **list, int n, TakenUnits *taken)
{
	Purchase   *p = list[0];

	if (seckill_hold_take(p->entry, (int32) wanted(list, n), taken))
	{
		if (taken->low)
			seckill_refill_ahead(p);
		return n;
	}
	if (n > 1)
		return take_for_list(list, n, taken);
	return seckill_refill_obtain(p, taken) ? 1 : 0;
}

/*
 * Sell from the row: the entry has no room for the numbers, because others
 * hold many, or because other items use all number rings.
 */
static void
buy_without_room(Purchase **list, int n)
{
	for (int i = 0; i < n; i++)
		list[i]->selling_mode = SECKILL_MODE_ADVISORY;
	buy_advisory(list, n);
}

static void
buy_cache(Purchase **list, int n)
{
	TakenUnits	taken;
	int			k;

	while ((k = take(list, n, &taken)) > 0)
	{
		SECKILL_FAULT("units held");
		for (int i = 0; i < k; i++)
			list[i]->unit = taken.numbers != NULL ? taken.numbers[i] : 0;
		if (seckill_orders_insert_fenced(list, k, taken.lease_id))
		{
			SECKILL_FAULT("order is behind the fence");
			set_outcome(list, k, SECKILL_SOLD);
			break;
		}
		drop_stale_lease(list[0], &taken);
		restore_order(list, n);
	}
	if (k == 0 && seckill_rules_refuse_elsewhere(list, n, list[0]->rules.place))
		return;
	if (k == 0 && list[0]->no_room)
		buy_without_room(list, n);
	else
		set_outcome(list + k, n - k, SECKILL_SOLD_OUT);
}

/*
 * Choose the mode that sells.  Mode auto sells a hot item from the cache, and
 * an item whose numbers have many gaps; any other in mode retry.  If the cache
 * has no entry for the item, the transaction has no slot for another hold, or
 * the list wants more units than an item can have, a row mode sells instead of
 * cache.
 */
static SeckillMode
choose(Purchase **list, int n)
{
	const Purchase *p = list[0];
	bool		can_hold = p->entry != NULL && seckill_hold_has_slot() &&
		wanted(list, n) <= PG_INT32_MAX;

	if (p->mode == SECKILL_MODE_AUTO)
		return can_hold && (seckill_cache_record_calls(p->entry, n) ||
							p->rules.fragmented) ?
			SECKILL_MODE_CACHE : SECKILL_MODE_RETRY;
	if (p->mode == SECKILL_MODE_CACHE && !can_hold)
		return SECKILL_MODE_ADVISORY;
	return p->mode;
}

/* Run the mode that was chosen. */
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
 * Serve a list of purchases of one item, which share the entry of the first,
 * or one booking.  Sets the outcome of each, and may reorder the list.
 */
void
seckill_modes_run(Purchase **list, int n)
{
	bool		books = list[0]->rules.legs > 0;
	SeckillMode mode = books ? seckill_book_mode(list[0]) : choose(list, n);

	list[0]->batch_size = n;
	for (int i = 0; i < n; i++)
		list[i]->selling_mode = mode;
	if (!seckill_rules_may_join(list[0], mode))
	{
		set_outcome(list, n, SECKILL_BUSY);
		return;
	}
	seckill_change_begin_work(list[0]->item_id);
	if (books)
		seckill_book_run(list[0]);
	else
		run(mode, list, n);
	seckill_change_end_work(1);
}
