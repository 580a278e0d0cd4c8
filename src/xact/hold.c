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
#include "replication/walsender.h"
#include "utils/memutils.h"

#include "base/fault.h"
#include "seckill.h"
#include "shmem/cache_counters.h"
#include "shmem/counters.h"
#include "shmem/holders.h"
#include "xact/hold.h"

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

static Claim claims[SECKILL_PLACES];
static int	nclaims = 0;


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
 * The end of a transaction
 */

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
