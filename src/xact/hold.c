/*
 * xact.c
 *		What the current transaction holds of the stock cache, and the
 *		callbacks that settle it when the transaction ends.
 *
 * A claim is what one nesting level of this transaction has at one entry and
 * lease: units on hold, which go back to the cache if the level aborts; units
 * of credit, which this transaction leased from the row and which the cache
 * gets when it commits; and the role of the refiller.  Selling from one's own
 * credit lowers it, so the credit of an inner level can be negative.
 *
 * When a subtransaction commits, its claims move up a level; when it aborts,
 * they are undone; when the top transaction ends, the callback does either for
 * all.  At XACT_EVENT_COMMIT the transaction is already visible to others and
 * its locks are not released yet: who waits for it finds the cache in order.
 *
 * Claim i is shown to other backends as holder place i (see stock.c), from just
 * before it has units until just after.  Its xid is that of the level that took
 * the units, so waiters wake when just that level aborts.
 *
 * Besides, a short list of the item rows that this transaction has locked or
 * changed: such a transaction must not wait for those who wait for the row,
 * nor publish what it alone can see, and its changes are announced when it
 * commits.  So is the end of the table itself.
 *
 * Callbacks raise only at PRE_PREPARE: no callback runs at COMMIT PREPARED,
 * so a prepared transaction cannot hold units.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "replication/message.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "seckill.h"

#define ROWS	64
#define EMPTIED 16

typedef struct Claim
{
	StockEntry *entry;
	int			level;			/* transaction nest level */
	TransactionId xid;			/* of that level */
	int64		lease_id;
	int32		hold;
	int32		credit;
	bool		sold;			/* were units of the credit sold? */
	bool		refiller;
} Claim;

typedef struct RowNote
{
	int64		item_id;
	int			level;
	RowState	state;
} RowNote;

/* A statement of the extension's own on the row of an item, or its orders. */
typedef struct OwnStatement
{
	int			level;			/* transaction nest level */
	int			depth;			/* of triggers around it */
	int64		item_id;
} OwnStatement;

static Claim claims[SECKILL_PLACES];
static int	nclaims = 0;

/*
 * Statements of the extension's own that run, the innermost last, see guard.c.
 * An error caught by a trigger of the application's leaves those of the levels
 * that it aborts to abort_level(); those around them still run.
 */
static OwnStatement *own = NULL;
static int	nown = 0;
static int	max_own = 0;

static RowNote rows[ROWS];
static int	nrows = 0;

/* Rows that the notes had no place for: taken for all rows. */
static bool more_locked = false;
static bool more_changed = false;


static Oid	changed_items = InvalidOid; /* OID of seckill.items for rows */

/* Incarnations of seckill.items that were truncated or dropped. */
static struct
{
	Oid			items;
	int			level;			/* by this nest level */
}			emptied[EMPTIED];
static int	nemptied = 0;
static Oid	dropped_database = InvalidOid;


/*
 * Claims
 */

static Claim *
find_claim(StockEntry *entry, int level, int64 lease_id)
{
	for (int i = 0; i < nclaims; i++)
		if (claims[i].entry == entry && claims[i].level == level &&
			claims[i].lease_id == lease_id)
			return &claims[i];
	return NULL;
}

/* Show claim to those who may have to wait for it, if it has units. */
static void
publish(Claim *claim)
{
	if (claim->hold > 0 || claim->credit > 0)
		seckill_stock_publish_holder(claim - claims, claim->entry,
									 claim->xid);
	else
		seckill_stock_withdraw_holder(claim - claims);
}

/*
 * See to it that the next get_claim() cannot fail: it runs when the units are
 * taken already.
 */
static void
prepare_claim(void)
{
	if (nclaims >= SECKILL_PLACES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("transaction holds units in too many places"),
				 errdetail("One transaction can hold units of the stock cache in %d places: items, times savepoints that bought them.",
						   SECKILL_PLACES),
				 errhint("Commit, and buy the rest in another transaction.")));
	(void) GetCurrentTransactionId();
	SECKILL_FAULT("claim prepared");
}

/* Find or add the claim of this level.  Raises nothing. */
static Claim *
get_claim(StockEntry *entry, int64 lease_id)
{
	int			level = GetCurrentTransactionNestLevel();
	Claim	   *claim = find_claim(entry, level, lease_id);

	if (claim != NULL)
		return claim;
	Assert(nclaims < SECKILL_PLACES);
	Assert(TransactionIdIsValid(GetCurrentTransactionIdIfAny()));
	claim = &claims[nclaims];
	claim->entry = entry;
	claim->level = level;
	claim->xid = GetCurrentTransactionIdIfAny();
	claim->lease_id = lease_id;
	claim->hold = 0;
	claim->credit = 0;
	claim->sold = false;
	claim->refiller = false;
	nclaims++;
	return claim;
}

/* Remove a claim; the last one takes its place. */
static void
drop_claim(Claim *claim)
{
	Claim	   *last = &claims[--nclaims];

	if (claim == last)
	{
		seckill_stock_withdraw_holder(last - claims);
		return;
	}
	seckill_stock_begin_move();
	*claim = *last;
	publish(claim);
	seckill_stock_withdraw_holder(last - claims);
	seckill_stock_end_move();
}

static void
drop_if_empty(Claim *claim)
{
	if (claim->hold == 0 && claim->credit == 0 && !claim->refiller)
		drop_claim(claim);
}

/*
 * May this transaction hold at one more item?  If not, the caller uses a mode
 * that needs no hold.  A purchase can need three claims: the role of the
 * refiller, and units of the lease before and after a settle.
 */
bool
seckill_xact_has_room(void)
{
	return nclaims <= SECKILL_PLACES - 3;
}

/* Units of the given lease that this transaction leased and has not sold. */
static int32
own_credit(StockEntry *entry, int64 lease_id)
{
	int32		credit = 0;

	for (int i = 0; i < nclaims; i++)
		if (claims[i].entry == entry && claims[i].lease_id == lease_id)
			credit += claims[i].credit;
	return credit;
}

/* What this transaction has at the entry's present lease. */
void
seckill_xact_own(StockEntry *entry, StockOwn *own)
{
	own->lease_id = seckill_stock_lease_id(entry);
	own->credit = own_credit(entry, own->lease_id);
	own->held = own->credit;
	for (int i = 0; i < nclaims; i++)
		if (claims[i].entry == entry && claims[i].lease_id == own->lease_id)
			own->held += claims[i].hold;
}

/*
 * Has this transaction more of the entry's present lease than so many units on
 * hold: others, credit, or what was sold of credit?
 */
bool
seckill_xact_uses(StockEntry *entry, int32 held)
{
	int64		lease_id = seckill_stock_lease_id(entry);

	for (int i = 0; i < nclaims; i++)
	{
		const Claim *claim = &claims[i];

		if (claim->entry != entry || claim->lease_id != lease_id)
			continue;
		if (claim->credit != 0 || claim->sold)
			return true;
		held -= claim->hold;
	}
	return held < 0;
}

/*
 * Sell from our own credit what the cache alone does not have.  Our credit
 * stays ours until commit, so it can be read without a lock.
 */
static void
take_with_credit(StockEntry *entry, int32 quantity, StockTaken *taken)
{
	int64		lease_id = seckill_stock_lease_id(entry);
	int32		drawn = Min(own_credit(entry, lease_id), quantity);
	Claim	   *claim;

	if (drawn == 0)
		return;
	prepare_claim();
	claim = get_claim(entry, lease_id);
	if (drawn < quantity)
	{
		seckill_stock_publish_holder(claim - claims, entry, claim->xid);
		seckill_stock_take(entry, quantity - drawn, quantity - drawn, taken);
		if (taken->units == 0)
		{
			publish(claim);
			return;
		}
	}
	/* we have the row locked: nobody can have ended our lease meanwhile */
	Assert(seckill_stock_lease_id(entry) == lease_id);
	taken->lease_id = lease_id;
	taken->units = quantity;
	taken->low = false;
	claim->hold += quantity - drawn;
	claim->credit -= drawn;
	claim->sold = true;
	seckill_stock_adjust(entry, lease_id, 0, -drawn);
	publish(claim);
}

/*
 * Put from min to max units of the cache on hold.  Returns false, with nothing
 * held, if there are fewer.  May raise only before the units are taken.
 */
static bool
take_between(StockEntry *entry, int32 min, int32 max, StockTaken *taken)
{
	Claim	   *claim;
	int			place = nclaims;

	taken->units = 0;
	if (seckill_stock_avail(entry) < min)
		return false;
	prepare_claim();
	seckill_stock_publish_holder(place, entry, GetCurrentTransactionIdIfAny());
	seckill_stock_take(entry, min, max, taken);
	if (taken->units == 0)
	{
		seckill_stock_withdraw_holder(place);
		return false;
	}
	claim = get_claim(entry, taken->lease_id);
	claim->hold += taken->units;
	if (claim - claims == place)
		return true;
	seckill_stock_begin_move();
	publish(claim);
	seckill_stock_withdraw_holder(place);
	seckill_stock_end_move();
	return true;
}

/* Put quantity units on hold, all or nothing, from our own credit first. */
bool
seckill_xact_take(StockEntry *entry, int32 quantity, StockTaken *taken)
{
	taken->units = 0;
	if (nclaims > 0)
		take_with_credit(entry, quantity, taken);
	return taken->units > 0 ||
		take_between(entry, quantity, quantity, taken);
}

/* Put all that the cache has on hold; our credit stays what it is. */
bool
seckill_xact_take_all(StockEntry *entry, StockTaken *taken)
{
	return take_between(entry, 1, PG_INT32_MAX, taken);
}

/* Give back what seckill_xact_take() took at this level. */
void
seckill_xact_return(StockEntry *entry, const StockTaken *taken)
{
	Claim	   *claim = find_claim(entry, GetCurrentTransactionNestLevel(),
								   taken->lease_id);

	if (claim == NULL || claim->hold < taken->units)
		elog(ERROR, "units to give back are not on hold");
	claim->hold -= taken->units;
	seckill_stock_adjust(entry, taken->lease_id, taken->units, -taken->units);
	publish(claim);
	drop_if_empty(claim);
}

/* This level has leased units that the cache shall get at commit. */
void
seckill_xact_credit(StockEntry *entry, int64 lease_id, int32 units)
{
	Claim	   *claim;

	prepare_claim();
	claim = get_claim(entry, lease_id);
	claim->credit += units;
	publish(claim);
	seckill_stock_adjust(entry, lease_id, 0, units);
}

/*
 * Become the one refiller of the entry until this level ends or gives the
 * role up.  The caller has the refiller's lock.
 */
void
seckill_xact_start_refill(StockEntry *entry)
{
	Claim	   *claim;

	prepare_claim();
	claim = get_claim(entry, seckill_stock_lease_id(entry));
	claim->refiller = true;
	seckill_stock_set_refilling(entry, true);
}

/* Give the role up before the end. */
void
seckill_xact_end_refill(StockEntry *entry)
{
	int			level = GetCurrentTransactionNestLevel();

	for (int i = 0; i < nclaims; i++)
	{
		Claim	   *claim = &claims[i];

		if (claim->entry != entry || claim->level != level || !claim->refiller)
			continue;
		claim->refiller = false;
		seckill_stock_set_refilling(entry, false);
		drop_if_empty(claim);
		return;
	}
}


/*
 * Rows
 */

/* How many triggers run around us. */
static int
trigger_depth(void)
{
	return DatumGetInt32(pg_trigger_depth(NULL));
}

/* Make room for one more statement. */
static void
grow_own(void)
{
	int			max = Max(2 * max_own, 8);

	own = own == NULL ?
		MemoryContextAlloc(TopMemoryContext, max * sizeof(OwnStatement)) :
		repalloc(own, max * sizeof(OwnStatement));
	max_own = max;
}

/*
 * Tell the triggers that the extension itself changes the row of an item, or
 * orders of it, until seckill_xact_end_own().  Statements nest, as a trigger
 * may buy.
 */
void
seckill_xact_begin_own(int64 item_id)
{
	if (nown == max_own)
		grow_own();
	own[nown].level = GetCurrentTransactionNestLevel();
	own[nown].depth = trigger_depth();
	own[nown].item_id = item_id;
	nown++;
}

/* The innermost statement has ended without an error. */
void
seckill_xact_end_own(void)
{
	Assert(nown > 0 && own[nown - 1].level == GetCurrentTransactionNestLevel());
	nown--;
}

/*
 * Has our own statement on the item called this trigger?  Other triggers may
 * run statements of the application's meanwhile, one level deeper.
 */
bool
seckill_xact_is_own(int64 item_id)
{
	return nown > 0 && own[nown - 1].item_id == item_id &&
		trigger_depth() == own[nown - 1].depth + 1;
}

/*
 * Does a statement of our own write a row at this moment?  Asked for each row,
 * before its triggers run.
 */
bool
seckill_xact_in_own(void)
{
	return nown > 0 && trigger_depth() == own[nown - 1].depth;
}

static RowNote *
find_row(int64 item_id, int level)
{
	for (int i = 0; i < nrows; i++)
		if (rows[i].item_id == item_id && rows[i].level == level)
			return &rows[i];
	return NULL;
}

/* Remember what this transaction did to the row of an item. */
void
seckill_xact_note_row(int64 item_id, RowState state)
{
	int			level = GetCurrentTransactionNestLevel();
	RowNote    *note;

	if (!seckill_stock_ready())
		return;
	changed_items = seckill_catalog()->items;
	note = find_row(item_id, level);
	if (note != NULL)
	{
		note->state = Max(note->state, state);
		return;
	}
	if (nrows == ROWS)
	{
		more_locked = true;
		more_changed |= state == ROW_CHANGED;
		return;
	}
	rows[nrows].item_id = item_id;
	rows[nrows].level = level;
	rows[nrows].state = state;
	nrows++;
}

static bool
row_has_state(int64 item_id, RowState state)
{
	if (state == ROW_CHANGED ? more_changed : more_locked)
		return true;
	for (int i = 0; i < nrows; i++)
		if (rows[i].item_id == item_id && rows[i].state >= state)
			return true;
	return false;
}

bool
seckill_xact_locked_row(int64 item_id)
{
	return row_has_state(item_id, ROW_LOCKED);
}

bool
seckill_xact_changed_row(int64 item_id)
{
	return row_has_state(item_id, ROW_CHANGED);
}

/*
 * seckill.items is truncated or dropped: forget its entries at commit.  More
 * than a few in one transaction only leave entries behind.
 */
void
seckill_xact_note_emptied(Oid items)
{
	if (!seckill_stock_ready() || nemptied == EMPTIED)
		return;
	for (int i = 0; i < nemptied; i++)
		if (emptied[i].items == items)
			return;
	emptied[nemptied].items = items;
	emptied[nemptied].level = GetCurrentTransactionNestLevel();
	nemptied++;
}

bool
seckill_xact_emptied_items(void)
{
	return nemptied > 0;
}

/* A database is dropped: forget its entries at commit. */
void
seckill_xact_note_drop_database(Oid dbid)
{
	dropped_database = dbid;
}


/*
 * Entries of the cache
 */

/*
 * Find and pin the entry of an item; NULL if it has none.  A transaction that
 * emptied the table has none either: what is on its rows is not yet true.
 */
StockEntry *
seckill_entry_find(int64 item_id)
{
	if (!seckill_stock_ready() || seckill_xact_emptied_items())
		return NULL;
	return seckill_stock_find(seckill_catalog()->items, item_id);
}

/* Find or make the entry, as seckill_stock_enter() does, and pin it. */
StockEntry *
seckill_entry_enter(int64 item_id)
{
	if (!seckill_stock_ready() || seckill_xact_emptied_items())
		return NULL;
	return seckill_stock_enter(seckill_catalog()->items, item_id);
}


/*
 * What others have committed, told to a caller who writes nothing: with
 * synchronous_commit off others see it before it is on disk.
 */

/*
 * Wait until the commit of a transaction that we see is on disk; always, or
 * unless our own commit would not wait either.  The server keeps the place of
 * an asynchronous commit in the WAL for just such a question.
 */
void
seckill_xact_await_flush(TransactionId xid, bool always)
{
	if (TransactionIdIsCurrentTransactionId(xid) ||
		(!always && synchronous_commit == SYNCHRONOUS_COMMIT_OFF))
		return;
	XLogFlush(TransactionIdGetCommitLSN(xid));
}

/*
 * Wait until the commit is on disk that left an order or item as it is, before
 * an error tells of that.  The caller has locked its row, and the record of
 * that lock follows the commit in the WAL.
 */
void
seckill_xact_flush_seen(void)
{
	if (synchronous_commit > SYNCHRONOUS_COMMIT_OFF)
		XLogFlush(XactLastRecEnd);
}


/*
 * Synchronous standbys
 */

/* Do commits wait for a synchronous standby? */
bool
seckill_xact_waits_for_standby(void)
{
	return SyncRepRequested() && SyncRepStandbyNames != NULL &&
		SyncRepStandbyNames[0] != '\0';
}

/*
 * The caller is about to be told what others have written.  Committed and seen
 * is not yet confirmed by the synchronous standby: who waited for that may have
 * been terminated, or the server restarted.  So our own commit shall wait, also
 * if there is nothing else to write: it is behind theirs in the WAL.
 */
void
seckill_xact_await_standby(void)
{
	if (seckill_xact_waits_for_standby())
		SeckillLogMessage("seckill");
}


/*
 * The end of a transaction
 */

/* Tell all sessions what this transaction has changed; it has committed. */
void
seckill_change_announce(void)
{
	if (more_changed)
		seckill_stock_changed_all(changed_items);
	else
		for (int i = 0; i < nrows; i++)
			if (rows[i].state == ROW_CHANGED)
				seckill_stock_changed(changed_items, rows[i].item_id);
	for (int i = 0; i < nemptied; i++)
		seckill_stock_drop_table(emptied[i].items);
	if (OidIsValid(dropped_database))
	{
		seckill_stock_drop_database(dropped_database);
		seckill_schedule_drop_database(dropped_database);
		seckill_queue_drop_database(dropped_database);
		seckill_stat_drop_database(dropped_database);
	}
}

static void
commit_claim(Claim *claim)
{
	seckill_stock_adjust(claim->entry, claim->lease_id, claim->credit,
						 -(claim->hold + claim->credit));
	if (claim->refiller)
		seckill_stock_set_refilling(claim->entry, false);
}

static void
abort_claim(Claim *claim)
{
	seckill_stock_adjust(claim->entry, claim->lease_id, claim->hold,
						 -(claim->hold + claim->credit));
	if (claim->refiller)
		seckill_stock_set_refilling(claim->entry, false);
}

/* Undo or keep what the last claim has, and remove it. */
static void
end_claim(Claim *claim, bool committed)
{
	if (SECKILL_SKIP("units given back"))
		;						/* they are lost */
	else if (committed)
		commit_claim(claim);
	else
		abort_claim(claim);
	if (SECKILL_SKIP("holder hidden"))
		nclaims--;
	else
		drop_claim(claim);
}

/* The transaction has ended: forget what it has changed. */
void
seckill_change_end(void)
{
	nown = 0;
	nrows = 0;
	more_locked = more_changed = false;
	nemptied = 0;
	dropped_database = InvalidOid;
}

/* The transaction has ended: commit or undo all that it holds. */
void
seckill_hold_end(bool committed)
{
	while (nclaims > 0)
		end_claim(&claims[nclaims - 1], committed);
}

/* Does this transaction hold units, or a refiller's role? */
bool
seckill_hold_any(void)
{
	return nclaims > 0;
}

static void
forget_all(void)
{
	seckill_change_end();
	seckill_stock_unpin_level(0);
}

/*
 * Units are given to the cache after the rows are announced: who proves
 * "sold out" must not find them gone from both (see seckill_stock_judge).
 */
static void
end_transaction(bool committed)
{
	if (committed)
		seckill_change_announce();
	SECKILL_CRASH("transaction has ended");
	seckill_hold_end(committed);
	SECKILL_CRASH("claims have ended");
	if (committed)
		seckill_worker_committed();
	else
		seckill_queue_abandon();
	seckill_schedule_end(committed);
	forget_all();
}

static void
refuse_prepare(void)
{
	SECKILL_FAULT("transaction is to be prepared");
	if (!seckill_hold_any() && !seckill_xact_emptied_items())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot prepare a transaction that holds units of the stock cache or empties its tables"),
			 errdetail("The cache would not hear of COMMIT PREPARED."),
			 errhint("In transactions that are to be prepared, buy with a mode that works on the row, after SELECT seckill_recall(item_id).")));
}

static void
on_xact_event(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			end_transaction(true);
			break;
		case XACT_EVENT_ABORT:
			end_transaction(false);
			break;
		case XACT_EVENT_PRE_PREPARE:
			refuse_prepare();
			break;
		case XACT_EVENT_PREPARE:
			seckill_schedule_end(false);
			forget_all();
			break;
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			/* a parallel worker writes no order: what it has goes back */
			end_transaction(false);
			break;
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			break;
	}
}


/*
 * The end of a subtransaction
 */

/* A committed level becomes part of the one around it. */
static void
lift_claim(Claim *claim)
{
	Claim	   *outer = find_claim(claim->entry, claim->level - 1,
								   claim->lease_id);

	if (outer == NULL)
	{
		claim->level--;
		return;
	}
	outer->hold += claim->hold;
	outer->credit += claim->credit;
	outer->sold |= claim->sold;
	outer->refiller |= claim->refiller;
	seckill_stock_begin_move();
	publish(outer);
	claim->hold = claim->credit = 0;
	publish(claim);
	seckill_stock_end_move();
	drop_claim(claim);
}

/* The same for notes on rows: one note per item and level is enough. */
static void
lift_rows(int level)
{
	int			n = nrows;

	nrows = 0;
	for (int i = 0; i < n; i++)
	{
		RowNote		note = rows[i];
		RowNote    *outer = find_row(note.item_id, Min(note.level, level - 1));

		if (outer != NULL)
			outer->state = Max(outer->state, note.state);
		else
		{
			note.level = Min(note.level, level - 1);
			rows[nrows++] = note;
		}
	}
}

/* What a level holds becomes its parent's. */
void
seckill_hold_commit_level(int level)
{
	for (int i = nclaims - 1; i >= 0; i--)
		if (i < nclaims && claims[i].level == level)
			lift_claim(&claims[i]);
}

/* Give back what a level and those inside it hold. */
void
seckill_hold_abort_level(int level)
{
	for (int i = nclaims - 1; i >= 0; i--)
		if (claims[i].level >= level)
		{
			abort_claim(&claims[i]);
			drop_claim(&claims[i]);
		}
}

/* What a level has changed becomes its parent's. */
void
seckill_change_commit_level(int level)
{
	lift_rows(level);
	for (int i = 0; i < nemptied; i++)
		emptied[i].level = Min(emptied[i].level, level - 1);
}

/* Forget what a level and those inside it have changed. */
void
seckill_change_abort_level(int level)
{
	int			kept = 0;

	while (nown > 0 && own[nown - 1].level >= level)
		nown--;
	for (int i = 0; i < nrows; i++)
		if (rows[i].level < level)
			rows[kept++] = rows[i];
	nrows = kept;
	while (nemptied > 0 && emptied[nemptied - 1].level >= level)
		nemptied--;
}

static void
commit_level(int level)
{
	SECKILL_CRASH("level has committed");
	seckill_hold_commit_level(level);
	seckill_change_commit_level(level);
}

static void
abort_level(int level)
{
	seckill_hold_abort_level(level);
	seckill_change_abort_level(level);
	seckill_stock_unpin_level(level);
}

static void
on_subxact_event(SubXactEvent event, SubTransactionId mySubid,
				 SubTransactionId parentSubid, void *arg)
{
	switch (event)
	{
		case SUBXACT_EVENT_COMMIT_SUB:
			commit_level(GetCurrentTransactionNestLevel());
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			abort_level(GetCurrentTransactionNestLevel());
			break;
		case SUBXACT_EVENT_START_SUB:
		case SUBXACT_EVENT_PRE_COMMIT_SUB:
			break;
	}
}

void
seckill_xact_init(void)
{
	RegisterXactCallback(on_xact_event, NULL);
	RegisterSubXactCallback(on_subxact_event, NULL);
}
