/*
 * modes.c
 *		The modes: how one purchase gets its units and writes its order.
 *
 * Every function here runs between seckill_ledger_begin() and _end(), for an
 * item whose sale is open, and returns the outcome.  An error leaves nothing
 * behind that the abort does not undo.
 *
 * The row modes draw on the row first.  If it is short they take the rest from
 * the item's open lease, so that no unit is out of reach of any mode.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lock.h"

#include "seckill.h"


static uint64
generation_of(const Purchase *p)
{
	return p->entry != NULL ? seckill_stock_generation(p->entry) : 0;
}

/* What is to be done about a row that is short, read after generation. */
static StockVerdict
judge(const Purchase *p, const ItemRow *row, uint64 generation)
{
	StockOwn	own;

	if (p->entry == NULL)
		return row->leased > 0 ? STOCK_ON_ROW : STOCK_OUT;
	seckill_xact_own(p->entry, &own);
	return seckill_stock_judge(p->entry, generation, row, p->quantity, &own);
}

/* Take what the locked row lacks from the lease on it, all or nothing. */
static bool
take_rest(const Purchase *p, const ItemRow *row, StockTaken *part)
{
	int32		missing = p->quantity - row->stock;

	if (p->entry == NULL || row->leased == 0)
		return false;
	return seckill_xact_take(p->entry, missing, part);
}

/*
 * Sell from a row that this transaction has locked and read.  Once settled,
 * the lease on it is the one in memory.
 */
static SeckillOutcome
sell_locked(Purchase *p, ItemRow *row)
{
	StockTaken	part = {0};

	if (row->stock < p->quantity)
		seckill_lease_settle(p, row);
	while (row->stock < p->quantity && !take_rest(p, row, &part))
	{
		CHECK_FOR_INTERRUPTS();
		switch (judge(p, row, generation_of(p)))
		{
			case STOCK_OUT:
				return SECKILL_SOLD_OUT;
			case STOCK_AWAIT:
				seckill_lease_await_holder(p->entry);
				break;
			case STOCK_AGAIN:
			case STOCK_ON_ROW:
				break;
		}
	}
	seckill_ledger_sell_locked(p->item_id, p->quantity - part.units,
							   part.units);
	seckill_ledger_order(p);
	return SECKILL_SOLD;
}

static SeckillOutcome
lock_and_sell(Purchase *p)
{
	ItemRow		row;

	seckill_ledger_lock(p->item_id, &row);
	return sell_locked(p, &row);
}


/*
 * none: read, check, write back.  What goes wrong without control.
 */
static SeckillOutcome
buy_none(Purchase *p)
{
	ItemRow		row;

	if (!seckill_ledger_read(p->item_id, &row))
		seckill_unknown_item(p->item_id);
	if (row.stock < p->quantity)
		return SECKILL_SOLD_OUT;
	seckill_ledger_order(p);
	seckill_ledger_overwrite(p->item_id, row.stock - p->quantity);
	return SECKILL_SOLD;
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
	if (!seckill_ledger_peek(p->item_id, &newest) ||
		newest.version != row->version || newest.stock != row->stock)
		seckill_ledger_unserializable();
}

/*
 * The row is short, but units of its lease may do.  They are taken under the
 * row lock only: who has the row locked may be waiting for holders of units,
 * so a holder must not wait for the row.
 */
static SeckillOutcome
buy_version_from_lease(Purchase *p, int64 version)
{
	ItemRow		row;

	seckill_ledger_lock(p->item_id, &row);
	if (row.version != version)
		return SECKILL_CONFLICT;
	return sell_locked(p, &row);
}

static SeckillOutcome
buy_optimistic(Purchase *p)
{
	for (;;)
	{
		uint64		generation = generation_of(p);
		ItemRow		row;

		CHECK_FOR_INTERRUPTS();
		if (!seckill_ledger_read(p->item_id, &row))
			seckill_unknown_item(p->item_id);
		if (row.stock >= p->quantity)
		{
			if (!seckill_ledger_sell_version(p->item_id, p->quantity,
											 row.version))
				return SECKILL_CONFLICT;
			seckill_ledger_order(p);
			return SECKILL_SOLD;
		}
		check_newest(p, &row);
		switch (judge(p, &row, generation))
		{
			case STOCK_OUT:
				return SECKILL_SOLD_OUT;
			case STOCK_AWAIT:
				seckill_lease_await_holder(p->entry);
				break;
			case STOCK_AGAIN:
			case STOCK_ON_ROW:
				return buy_version_from_lease(p, row.version);
		}
	}
}


/*
 * retry: optimistic, again at once under a fresh snapshot.
 */
static SeckillOutcome
buy_retry(Purchase *p)
{
	SeckillOutcome outcome = buy_optimistic(p);

	for (int i = 0; outcome == SECKILL_CONFLICT && i < seckill_max_retries; i++)
		outcome = buy_optimistic(p);
	return outcome;
}


/*
 * Queue for the item on a heavyweight lock of its own, held to the end of the
 * transaction.  PostgreSQL queues for a row on a lock of one version of it:
 * each update wakes all who wait, to queue again at the next version, in any
 * order.  This queue is first come, first served, and wakes one at a time.
 * Who has the row already must not queue behind those who wait for it.
 */
static void
join_queue(const Purchase *p)
{
	LOCKTAG		tag;

	if (seckill_lease_owns_row(p))
		return;
	seckill_lock_tag(&tag, p->item_id, SECKILL_LOCK_BUYERS);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}


/*
 * pessimistic: lock the row, then update it.
 */
static SeckillOutcome
buy_pessimistic(Purchase *p)
{
	join_queue(p);
	return lock_and_sell(p);
}


/*
 * advisory: the queue alone, then update.
 */
static SeckillOutcome
buy_advisory(Purchase *p)
{
	join_queue(p);
	if (!seckill_ledger_sell(p->item_id, p->quantity))
		return lock_and_sell(p);
	seckill_ledger_order(p);
	return SECKILL_SOLD;
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
drop_stale_lease(Purchase *p, const StockTaken *taken)
{
	ItemRow		row;

	seckill_xact_return(p->entry, taken);
	if (!seckill_ledger_peek(p->item_id, &row))
		seckill_unknown_item(p->item_id);
	if (row.lease_id != taken->lease_id)
		seckill_stock_renew(p->entry, taken->lease_id);
	if (IsolationUsesXactSnapshot())
		seckill_ledger_unserializable();
}

static SeckillOutcome
buy_cache(Purchase *p)
{
	StockTaken	taken;

	for (;;)
	{
		if (seckill_xact_take(p->entry, p->quantity, &taken))
		{
			if (taken.low)
				seckill_lease_top_up(p);
		}
		else if (!seckill_lease_obtain(p, &taken))
			return SECKILL_SOLD_OUT;
		if (seckill_ledger_order_fenced(p, taken.lease_id))
			return SECKILL_SOLD;
		drop_stale_lease(p, &taken);
	}
}

/*
 * The mode that sells for the one that was asked for.  auto takes the cache
 * where it can.  Where the cache has no place for the item, or the transaction
 * none for another hold, a row mode sells.
 */
static SeckillMode
choose(const Purchase *p)
{
	bool		can_hold = p->entry != NULL && seckill_xact_has_room();

	if (p->mode == SECKILL_MODE_AUTO)
		return can_hold ? SECKILL_MODE_CACHE : SECKILL_MODE_RETRY;
	if (p->mode == SECKILL_MODE_CACHE && !can_hold)
		return SECKILL_MODE_ADVISORY;
	return p->mode;
}

SeckillOutcome
seckill_mode_run(Purchase *p)
{
	p->mode = choose(p);
	switch (p->mode)
	{
		case SECKILL_MODE_NONE:
			return buy_none(p);
		case SECKILL_MODE_OPTIMISTIC:
			return buy_optimistic(p);
		case SECKILL_MODE_RETRY:
			return buy_retry(p);
		case SECKILL_MODE_PESSIMISTIC:
			return buy_pessimistic(p);
		case SECKILL_MODE_ADVISORY:
			return buy_advisory(p);
		case SECKILL_MODE_CACHE:
			return buy_cache(p);
		case SECKILL_MODE_AUTO:
			break;
	}
	pg_unreachable();
}
