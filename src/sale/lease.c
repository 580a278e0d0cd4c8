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

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "storage/lmgr.h"

#include "seckill.h"

PG_FUNCTION_INFO_V1(seckill_prewarm);
PG_FUNCTION_INFO_V1(seckill_recall);


/*
 * Settle
 */

/* Give the unsold units of a dead lease back to the row, which is locked. */
static void
settle_dead_lease(int64 item_id, ItemRow *row)
{
	int64		sold = seckill_ledger_sold_on_lease(item_id, row->lease_id);
	int64		unsold = row->leased - sold;

	if (unsold < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("item " INT64_FORMAT " has more orders under its lease than units leased",
						item_id),
				 errdetail("%d units leased, " INT64_FORMAT " sold.",
						   row->leased, sold),
				 errhint("See seckill_audit() and what changed seckill.items or seckill.orders by hand.")));
	seckill_ledger_close(item_id, (int32) unsold);
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
seckill_lease_settle(Purchase *p, ItemRow *row)
{
	if (p->entry == NULL)
		p->entry = seckill_entry_find(p->item_id);
	if (p->entry != NULL && seckill_stock_stale(p->entry, row))
		seckill_stock_renew(p->entry, seckill_stock_lease_id(p->entry));
	if (row->leased > 0 &&
		(p->entry == NULL ||
		 row->lease_id != seckill_stock_lease_id(p->entry)))
		settle_dead_lease(p->item_id, row);
}


/*
 * Lease
 */

/* Move n units of the locked row to the cache; it gets them at commit. */
static void
lease_units(Purchase *p, const ItemRow *row, int32 n)
{
	int64		lease_id = seckill_stock_lease_id(p->entry);

	seckill_ledger_lease(p->item_id, n, lease_id);
	SECKILL_FAULT("lease written");
	seckill_xact_credit(p->entry, lease_id, n);
	SECKILL_FAULT("lease credited");
}

/*
 * How many units one refill moves, so that one call in many has to do it: a
 * tenth of seckill.lease_units for each purchase of the call, and all of it at
 * least.
 */
static int32
lease_size(const Purchase *p)
{
	int64		size = (int64) p->company * (seckill_lease_units / 10);

	return (int32) Min(Max(size, seckill_lease_units), PG_INT32_MAX);
}

/*
 * Under the row lock, lease what p lacks, and more for those who come after.
 * False if row and cache together are short.
 */
static bool
refill(Purchase *p, StockTaken *taken)
{
	ItemRow		row;
	StockOwn	own;
	int32		missing;

	seckill_ledger_lock(p->item_id, &row);
	seckill_lease_settle(p, &row);
	seckill_xact_own(p->entry, &own);
	missing = p->quantity - own.credit - seckill_stock_avail(p->entry);
	if (missing > 0)
	{
		if (row.stock < missing)
			return false;
		lease_units(p, &row, Min(row.stock, Max(missing, lease_size(p))));
		seckill_stat_note_refill();
	}
	return seckill_xact_take(p->entry, p->quantity, taken);
}

/* The tag of a heavyweight lock of ours on an item. */
void
seckill_lock_tag(LOCKTAG *tag, int64 item_id, uint16 class)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (item_id >> 32),
						 (uint32) item_id, class);
}

/*
 * Take a lock until the end of the transaction; false if that means to wait
 * and may not.  A wait is counted.
 */
bool
seckill_lock(const LOCKTAG *tag, LOCKMODE mode, bool may_wait)
{
	instr_time	start;

	if (LockAcquire(tag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL)
		return true;
	if (!may_wait)
		return false;
	INSTR_TIME_SET_CURRENT(start);
	(void) LockAcquire(tag, mode, false, false);
	seckill_stat_note_wait(start);
	return true;
}

/* Release a lock before the end of the transaction. */
void
seckill_unlock(const LOCKTAG *tag, LOCKMODE mode)
{
	(void) LockRelease(tag, mode, false);
}

/*
 * Wait for the end of a transaction or subtransaction that is not ours.  The
 * wait ends after its callbacks, and is counted.
 */
void
seckill_lock_await_xact(TransactionId xid)
{
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	if (!TransactionIdIsCurrentTransactionId(xid))
		XactLockTableWait(xid, NULL, NULL, XLTW_None);
	seckill_stat_note_wait(start);
}

/* Does this transaction have a lock on the table, in any mode? */
bool
seckill_lock_has_table(Oid table)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, table);
	for (LOCKMODE mode = AccessShareLock; mode <= AccessExclusiveLock; mode++)
		if (SeckillLockHeldByMe(&tag, mode))
			return true;
	return false;
}

/*
 * Has somebody locked this database to drop, rename or copy it?  Takes the lock
 * that a session has as it connects, if not.
 */
bool
seckill_lock_database_is_taken(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
	return LockAcquire(&tag, RowExclusiveLock, false, true) ==
		LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Become the one refiller of the item; without leave to wait, unless somebody
 * has the lock.  The role is a heavyweight lock, held until the end of this
 * (sub)transaction, when the callbacks have given the cache its units, or
 * until it is given up.
 */
static bool
start_refill(Purchase *p, bool may_wait)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, p->item_id, SECKILL_LOCK_REFILL);
	if (!seckill_lock(&tag, ExclusiveLock, may_wait))
		return false;
	SECKILL_FAULT("refiller's lock taken");
	seckill_xact_start_refill(p->entry);
	SECKILL_FAULT("refiller's role taken");
	return true;
}

static void
end_refill(Purchase *p)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, p->item_id, SECKILL_LOCK_REFILL);
	seckill_xact_end_refill(p->entry);
	SECKILL_FAULT("refiller's role given up");
	seckill_unlock(&tag, ExclusiveLock);
}

/* Wait until the refiller has ended or given up.  All who wait wake at once. */
static void
await_refiller(Purchase *p)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, p->item_id, SECKILL_LOCK_REFILL);
	(void) seckill_lock(&tag, ShareLock, true);
	/* nobody can have the role now: one that shows is lost */
	if (seckill_stock_is_refilling(p->entry))
		seckill_stock_set_refilling(p->entry, false);
	SECKILL_FAULT("refiller awaited");
	seckill_unlock(&tag, ShareLock);
}

/*
 * Does this transaction have the row locked, by our doing or by statements of
 * the application's?  Of the latter only a try can tell, which locks the row
 * if nobody has.  Such a transaction must not wait for the refiller or in the
 * line, where somebody may be waiting for just that lock.
 */
bool
seckill_lease_owns_row(int64 item_id)
{
	ItemRow		row;

	return seckill_xact_locked_row(item_id) ||
		(TransactionIdIsValid(GetTopTransactionIdIfAny()) &&
		 seckill_ledger_try_lock(item_id, &row));
}

/*
 * Stand in line for the item: on a heavyweight lock of its own, held to the
 * end of the transaction.  PostgreSQL queues for a row on a lock of one version
 * of it: each update wakes all who wait, to queue again at the next version, in
 * any order.  This line is first come, first served, and wakes one at a time.
 * Who has the row already must not stand behind those who wait for it.
 */
void
seckill_lease_line_up(int64 item_id)
{
	LOCKTAG		tag;

	if (seckill_lease_owns_row(item_id))
		return;
	seckill_lock_tag(&tag, item_id, SECKILL_LOCK_BUYERS);
	(void) seckill_lock(&tag, ExclusiveLock, true);
	SECKILL_FAULT("line joined");
}

/* Refill as the one refiller, unless somebody has done it by now. */
static bool
refill_in_role(Purchase *p, StockTaken *taken)
{
	bool		done = seckill_stock_avail(p->entry) < p->quantity &&
	refill(p, taken);

	if (!done)
		end_refill(p);
	return done;
}

/*
 * Go to the row, as the one refiller, or wait for who is.  If nobody is, the
 * lock is taken by some who waited, for a moment each; but of a crowd somebody
 * has it at any moment.  So stand in line for the role then, and those who
 * come later stand behind.
 */
static bool
refill_in_turn(Purchase *p, StockTaken *taken)
{
	if (seckill_xact_locked_row(p->item_id))
		return refill(p, taken);
	if (start_refill(p, false))
		return refill_in_role(p, taken);
	if (seckill_lease_owns_row(p->item_id))
		return refill(p, taken);
	if (seckill_stock_is_refilling(p->entry))
	{
		await_refiller(p);
		return false;
	}
	(void) start_refill(p, true);
	return refill_in_role(p, taken);
}

uint64
seckill_lease_generation(const Purchase *p)
{
	return p->entry != NULL ? seckill_stock_generation(p->entry) : 0;
}

/* What is to be done about a row that is short, read after generation. */
StockVerdict
seckill_lease_judge(const Purchase *p, const ItemRow *row, uint64 generation)
{
	StockOwn	own;

	if (p->entry == NULL)
		return row->leased > 0 ? STOCK_ON_ROW : STOCK_OUT;
	seckill_xact_own(p->entry, &own);
	return seckill_stock_judge(p->entry, generation, row, p->quantity, &own);
}


/*
 * Holders
 */

/*
 * Are units of the entry on hold that no transaction has?  They were lost by a
 * bug: whoever waited for their holder would wait forever.
 */
bool
seckill_lease_has_lost(StockEntry *entry)
{
	StockHolder holder;
	StockOwn	own;

	if (seckill_stock_other_holder(entry, &holder))
		return false;
	seckill_xact_own(entry, &own);
	return seckill_stock_has_lost(entry, &own);
}

/*
 * End the lease whose units are lost, and settle it: the tables tell what was
 * sold.  The caller has locked the row, and of the lease has only so many units
 * on hold, not written to any order.  False if none are lost by now.
 */
static bool
drop_lost(Purchase *p, ItemRow *row, int32 own)
{
	int32		units = seckill_stock_drop_lost(p->entry, own);

	if (units == 0)
		return false;
	ereport(WARNING,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("%d units of item " INT64_FORMAT " were on hold for no transaction",
					units, p->item_id),
			 errdetail("The lease is ended and settled by its orders.")));
	seckill_lease_settle(p, row);
	return true;
}

/*
 * A transaction that has sold units of the lease cannot end it: others would
 * settle it without its orders, if it went back to a savepoint and so lost the
 * row, but not these.
 */
static void
check_unused(Purchase *p, int32 own)
{
	if (seckill_xact_uses(p->entry, own))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("units of item " INT64_FORMAT " are on hold for no transaction",
						p->item_id),
				 errdetail("They cannot be given back by a transaction that has bought units of the item itself."),
				 errhint("Roll back, and give them back with seckill_recall(" INT64_FORMAT ").",
						 p->item_id)));
}

/* The same as drop_lost(), or an error. */
bool
seckill_lease_drop_lost(Purchase *p, ItemRow *row, int32 own)
{
	check_unused(p, own);
	return drop_lost(p, row, own);
}

/*
 * Wait for the end of a transaction that holds units of the entry, if there is
 * one.  The wait ends after the callbacks of that transaction.
 */
void
seckill_lease_await_holder(StockEntry *entry)
{
	StockHolder holder;
	TransactionId xid;

	CHECK_FOR_INTERRUPTS();
	if (!seckill_stock_other_holder(entry, &holder))
		return;
	xid = (TransactionId) holder.shown;
	seckill_lock_await_xact(xid);
	seckill_stock_forget_holder(&holder);
}

/*
 * Wait for a holder of units, or, if they have none, give them back to the row,
 * which is locked for that.
 */
void
seckill_lease_await_units(Purchase *p)
{
	ItemRow		row;

	if (!seckill_lease_has_lost(p->entry))
	{
		seckill_lease_await_holder(p->entry);
		return;
	}
	check_unused(p, 0);
	seckill_ledger_lock(p->item_id, &row);
	(void) drop_lost(p, &row, 0);
}


/*
 * Obtaining units
 */

/*
 * The cache was found short: put p's units on hold by whatever it takes.
 * Returns false if p is sold out.  Each turn reads generation, row and
 * counters in this order, see seckill_stock_judge().
 */
bool
seckill_lease_obtain(Purchase *p, StockTaken *taken)
{
	for (;;)
	{
		uint64		generation = seckill_lease_generation(p);
		ItemRow		row;

		CHECK_FOR_INTERRUPTS();
		if (seckill_xact_take(p->entry, p->quantity, taken))
			return true;
		if (!seckill_ledger_peek(p->item_id, &row))
			seckill_unknown_item(p->item_id);
		switch (seckill_lease_judge(p, &row, generation))
		{
			case STOCK_AGAIN:
				break;
			case STOCK_AWAIT:
				seckill_lease_await_units(p);
				break;
			case STOCK_OUT:
				return false;
			case STOCK_ON_ROW:
				if (refill_in_turn(p, taken))
					return true;
				break;
		}
	}
}

/*
 * The cache runs low: lease more, if that costs nobody a wait.  Not inside a
 * transaction block, whose end may be far away while it has the row locked.
 */
void
seckill_lease_top_up(Purchase *p)
{
	ItemRow		row;
	bool		leased = false;

	if (IsTransactionBlock() || IsSubTransaction() ||
		IsolationUsesXactSnapshot() || !seckill_xact_has_room() ||
		!start_refill(p, false))
		return;
	if (seckill_ledger_try_lock(p->item_id, &row))
	{
		leased = row.stock > 0 &&
			row.lease_id == seckill_stock_lease_id(p->entry);
		if (leased)
		{
			lease_units(p, &row, Min(row.stock, lease_size(p)));
			seckill_stat_note_refill();
		}
		else
			seckill_stock_set_dry(p->entry, row.stock == 0 && !row.mine);
	}
	if (!leased)
		end_refill(p);
}

/*
 * The item is about to be deleted, its row locked: see to it that nobody holds
 * units, as their orders may stand in the way.  Usually the lease can be
 * closed at once; with holders, all units are taken first, so that no more
 * come.  Our own holds stay: our orders are for the caller to find.  So are
 * those of lost units, whose transactions have ended.
 */
void
seckill_lease_vacate(Purchase *p)
{
	StockTaken	taken;
	StockOwn	own;

	if (p->entry == NULL)
		return;
	while (!seckill_stock_close(p->entry))
	{
		(void) seckill_xact_take_all(p->entry, &taken);
		SECKILL_FAULT("lease emptied");
		seckill_xact_own(p->entry, &own);
		if (seckill_stock_is_vacant(p->entry, &own) ||
			seckill_lease_has_lost(p->entry))
			return;
		seckill_lease_await_holder(p->entry);
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
	StockTaken	taken;
	StockOwn	own;
	int32		units = 0;

	if (p->entry == NULL)
		return 0;
	for (;;)
	{
		seckill_xact_own(p->entry, &own);
		if (own.credit > 0 && seckill_xact_take(p->entry, own.credit, &taken))
			units += taken.units;
		if (seckill_xact_take_all(p->entry, &taken))
			units += taken.units;
		SECKILL_FAULT("all units taken");
		seckill_xact_own(p->entry, &own);
		if (seckill_stock_is_vacant(p->entry, &own))
			return units;
		if (!seckill_lease_has_lost(p->entry))
			seckill_lease_await_holder(p->entry);
		else if (seckill_lease_drop_lost(p, row, units))
			units = 0;
	}
}


/*
 * By hand
 */

static void
require_cache(void)
{
	if (!seckill_stock_ready())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no stock cache"),
				 errhint("Add seckill to shared_preload_libraries and restart the server.")));
}

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
	seckill_ledger_lock(item_id, row);
	stock = row->stock;
	p->entry = seckill_entry_enter(item_id);
	seckill_lease_settle(p, row);
	if (p->entry != NULL && seckill_lease_has_lost(p->entry) &&
		!seckill_xact_uses(p->entry, 0))
		(void) drop_lost(p, row, 0);
	return row->stock - stock;
}

static int32
prewarm(int64 item_id, int32 units)
{
	Purchase	p;
	ItemRow		row;

	if (seckill_xact_emptied_items())
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
		lease_units(&p, &row, units);
	SECKILL_FAULT("item prewarmed");
	seckill_stock_preheat(p.entry);
	seckill_stock_unpin(p.entry);
	return units;
}

/*
 * An item is about to open: give the cache a first lease, as it is kept up
 * later.  False if that would mean to wait for the row.
 */
bool
seckill_lease_prepare(int64 item_id)
{
	Purchase	p = {.item_id = item_id};
	ItemRow		row;
	int32		missing;

	if (!seckill_ledger_try_lock(item_id, &row))
		return false;
	p.entry = seckill_entry_enter(item_id);
	if (p.entry == NULL)
		return true;
	seckill_lease_settle(&p, &row);
	missing = Min(row.stock,
				  seckill_lease_units - seckill_stock_avail(p.entry));
	if (missing > 0)
	{
		lease_units(&p, &row, missing);
		seckill_stat_count(SECKILL_STAT_PREWARMS, 1);
	}
	seckill_stock_preheat(p.entry);
	seckill_stock_unpin(p.entry);
	return true;
}

/*
 * seckill_prewarm(item_id, units) returns integer
 *
 * Lease units, or all, ahead of the sale.  Returns how many: fewer if the row
 * has fewer.  Buyers get them once the caller's transaction commits.
 */
Datum
seckill_prewarm(PG_FUNCTION_ARGS)
{
	int32		units;
	LedgerCaller caller;
	int32		leased;

	seckill_check_writable("seckill_prewarm()");
	require_cache();
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	units = PG_ARGISNULL(1) ? PG_INT32_MAX :
		seckill_check_units(PG_GETARG_INT64(1), "units");
	seckill_ledger_begin(&caller);
	leased = prewarm(PG_GETARG_INT64(0), units);
	seckill_ledger_end(&caller);
	PG_RETURN_INT32(leased);
}

/*
 * Give back what the cache has.  If nobody holds units the lease is closed and
 * settled.  Otherwise it stays open for the holders, and the units that go are
 * held by this transaction until it ends, or an abort would lose them.  It also
 * stays open if this transaction has sold of its own credit: its order may not
 * be written yet, when a trigger on it calls us.
 */
static int32
recall(int64 item_id)
{
	Purchase	p;
	ItemRow		row;
	StockTaken	taken = {0};
	int32		settled = open_item(&p, item_id, &row);

	if (row.leased > 0 && !seckill_xact_uses(p.entry, 0) &&
		seckill_stock_close(p.entry))
	{
		int32		stock = row.stock;

		SECKILL_FAULT("lease ended");
		seckill_lease_settle(&p, &row);
		settled += row.stock - stock;
	}
	else if (row.leased > 0 && seckill_xact_take_all(p.entry, &taken))
	{
		SECKILL_FAULT("lease recalled");
		seckill_ledger_give_back(item_id, taken.units);
	}
	seckill_stock_unpin(p.entry);
	return settled + taken.units;
}

/*
 * seckill_recall(item_id) returns integer
 *
 * Returns how many units went from the lease to the row.  Buyers of the row
 * modes and other leases get them once the caller's transaction commits.
 */
Datum
seckill_recall(PG_FUNCTION_ARGS)
{
	LedgerCaller caller;
	int32		units;

	seckill_check_writable("seckill_recall()");
	require_cache();
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_ledger_begin(&caller);
	units = recall(PG_GETARG_INT64(0));
	seckill_ledger_end(&caller);
	PG_RETURN_INT32(units);
}
