/*
 * xact.c
 *		What the current transaction holds of the stock cache, and the
 *		callbacks that settle it when the transaction ends.
 *
 * A hold is what one nesting level of this transaction has at one entry and
 * lease: units on hold, which go back to the cache if the level aborts; units
 * of credit, which this transaction leased from the row and which the cache
 * gets when it commits; and the role of the refiller.  Selling from one's own
 * credit lowers it, so the credit of an inner level can be negative.
 *
 * When a subtransaction commits, its holds move up a level; when it aborts,
 * they are undone; when the top transaction ends, the callback does either for
 * all.  At XACT_EVENT_COMMIT the transaction is already visible to others and
 * its locks are not released yet: who waits for it finds the cache in order.
 *
 * Hold i is shown to other backends as holder place i (see stock.c), from just
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

typedef struct Hold
{
	CacheEntry *entry;
	int			level;			/* transaction nest level */
	TransactionId xid;			/* of that level */
	int64		lease_id;
	int32		hold;
	int32		credit;
	bool		sold;			/* were units of the credit sold? */
	bool		refiller;
} Hold;

static Hold holds[SECKILL_MAX_HOLDS];
static int	nholds = 0;


/*
 * Claims
 */

static Hold *
find_hold(CacheEntry *entry, int level, int64 lease_id)
{
	for (int i = 0; i < nholds; i++)
		if (holds[i].entry == entry && holds[i].level == level &&
			holds[i].lease_id == lease_id)
			return &holds[i];
	return NULL;
}

/* Show hold to those who may have to wait for it, if it has units. */
static void
publish(Hold *hold)
{
	if (hold->hold > 0 || hold->credit > 0)
		seckill_holder_publish(hold - holds, hold->entry,
							   hold->xid);
	else
		seckill_holder_withdraw(hold - holds);
}

/*
 * See to it that the next get_hold() cannot fail: it runs when the units are
 * taken already.
 */
static void
prepare_hold(void)
{
	if (nholds >= SECKILL_MAX_HOLDS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("transaction holds units in too many places"),
				 errdetail("One transaction can hold units of the stock cache in %d places: items, times savepoints that bought them.",
						   SECKILL_MAX_HOLDS),
				 errhint("Commit, and buy the rest in another transaction.")));
	(void) GetCurrentTransactionId();
	SECKILL_FAULT("hold prepared");
}

/* Find or add the hold of this level.  Raises nothing. */
static Hold *
get_hold(CacheEntry *entry, int64 lease_id)
{
	int			level = GetCurrentTransactionNestLevel();
	Hold	   *hold = find_hold(entry, level, lease_id);

	if (hold != NULL)
		return hold;
	Assert(nholds < SECKILL_MAX_HOLDS);
	Assert(TransactionIdIsValid(GetCurrentTransactionIdIfAny()));
	hold = &holds[nholds];
	hold->entry = entry;
	hold->level = level;
	hold->xid = GetCurrentTransactionIdIfAny();
	hold->lease_id = lease_id;
	hold->hold = 0;
	hold->credit = 0;
	hold->sold = false;
	hold->refiller = false;
	nholds++;
	return hold;
}

/* Remove a hold; the last one takes its place. */
static void
drop_hold(Hold *hold)
{
	Hold	   *last = &holds[--nholds];

	if (hold == last)
	{
		seckill_holder_withdraw(last - holds);
		return;
	}
	seckill_holder_begin_move();
	*hold = *last;
	publish(hold);
	seckill_holder_withdraw(last - holds);
	seckill_holder_end_move();
}

static void
drop_if_empty(Hold *hold)
{
	if (hold->hold == 0 && hold->credit == 0 && !hold->refiller)
		drop_hold(hold);
}

/*
 * May this transaction hold at one more item?  If not, the caller uses a mode
 * that needs no hold.  A purchase can need three holds: the role of the
 * refiller, and units of the lease before and after a settle.
 */
bool
seckill_hold_has_slot(void)
{
	return nholds <= SECKILL_MAX_HOLDS - 3;
}

/* Units of the given lease that this transaction leased and has not sold. */
static int32
own_credit(CacheEntry *entry, int64 lease_id)
{
	int32		credit = 0;

	for (int i = 0; i < nholds; i++)
		if (holds[i].entry == entry && holds[i].lease_id == lease_id)
			credit += holds[i].credit;
	return credit;
}

/* What this transaction has at the entry's present lease. */
void
seckill_hold_own_units(CacheEntry *entry, OwnUnits *own)
{
	own->lease_id = seckill_cache_lease_id(entry);
	own->credit = own_credit(entry, own->lease_id);
	own->held = own->credit;
	for (int i = 0; i < nholds; i++)
		if (holds[i].entry == entry && holds[i].lease_id == own->lease_id)
			own->held += holds[i].hold;
}

/*
 * Has this transaction more of the entry's present lease than so many units on
 * hold: others, credit, or what was sold of credit?
 */
bool
seckill_hold_uses(CacheEntry *entry, int32 held)
{
	int64		lease_id = seckill_cache_lease_id(entry);

	for (int i = 0; i < nholds; i++)
	{
		const Hold *hold = &holds[i];

		if (hold->entry != entry || hold->lease_id != lease_id)
			continue;
		if (hold->credit != 0 || hold->sold)
			return true;
		held -= hold->hold;
	}
	return held < 0;
}

/*
 * Sell from our own credit what the cache alone does not have.  Our credit
 * stays ours until commit, so it can be read without a lock.
 */
static void
take_with_credit(CacheEntry *entry, int32 quantity, TakenUnits *taken)
{
	int64		lease_id = seckill_cache_lease_id(entry);
	int32		drawn = Min(own_credit(entry, lease_id), quantity);
	Hold	   *hold;

	if (drawn == 0)
		return;
	prepare_hold();
	hold = get_hold(entry, lease_id);
	if (drawn < quantity)
	{
		seckill_holder_publish(hold - holds, entry, hold->xid);
		seckill_cache_take(entry, quantity - drawn, quantity - drawn, taken);
		if (taken->units == 0)
		{
			publish(hold);
			return;
		}
	}
	/* we have the row locked: nobody can have ended our lease meanwhile */
	Assert(seckill_cache_lease_id(entry) == lease_id);
	taken->lease_id = lease_id;
	taken->units = quantity;
	taken->low = false;
	hold->hold += quantity - drawn;
	hold->credit -= drawn;
	hold->sold = true;
	seckill_cache_adjust(entry, lease_id, 0, -drawn);
	publish(hold);
}

/*
 * Put from min to max units of the cache on hold.  Returns false, with nothing
 * held, if there are fewer.  May raise only before the units are taken.
 */
static bool
take_between(CacheEntry *entry, int32 min, int32 max, TakenUnits *taken)
{
	Hold	   *hold;
	int			place = nholds;

	taken->units = 0;
	if (seckill_cache_avail(entry) < min)
		return false;
	prepare_hold();
	seckill_holder_publish(place, entry, GetCurrentTransactionIdIfAny());
	seckill_cache_take(entry, min, max, taken);
	if (taken->units == 0)
	{
		seckill_holder_withdraw(place);
		return false;
	}
	hold = get_hold(entry, taken->lease_id);
	hold->hold += taken->units;
	if (hold - holds == place)
		return true;
	seckill_holder_begin_move();
	publish(hold);
	seckill_holder_withdraw(place);
	seckill_holder_end_move();
	return true;
}

/* Put quantity units on hold, all or nothing, from our own credit first. */
bool
seckill_hold_take(CacheEntry *entry, int32 quantity, TakenUnits *taken)
{
	taken->units = 0;
	if (nholds > 0)
		take_with_credit(entry, quantity, taken);
	return taken->units > 0 ||
		take_between(entry, quantity, quantity, taken);
}

/* Put all that the cache has on hold; our credit stays what it is. */
bool
seckill_hold_take_all(CacheEntry *entry, TakenUnits *taken)
{
	return take_between(entry, 1, PG_INT32_MAX, taken);
}

/* Give back what seckill_hold_take() took at this level. */
void
seckill_hold_return(CacheEntry *entry, const TakenUnits *taken)
{
	Hold	   *hold = find_hold(entry, GetCurrentTransactionNestLevel(),
								 taken->lease_id);

	if (hold == NULL || hold->hold < taken->units)
		elog(ERROR, "units to give back are not on hold");
	hold->hold -= taken->units;
	seckill_cache_adjust(entry, taken->lease_id, taken->units, -taken->units);
	publish(hold);
	drop_if_empty(hold);
}

/* This level has leased units that the cache shall get at commit. */
void
seckill_hold_credit(CacheEntry *entry, int64 lease_id, int32 units)
{
	Hold	   *hold;

	prepare_hold();
	hold = get_hold(entry, lease_id);
	hold->credit += units;
	publish(hold);
	seckill_cache_adjust(entry, lease_id, 0, units);
}

/*
 * Become the one refiller of the entry until this level ends or gives the
 * role up.  The caller has the refiller's lock.
 */
void
seckill_hold_start_refill(CacheEntry *entry)
{
	Hold	   *hold;

	prepare_hold();
	hold = get_hold(entry, seckill_cache_lease_id(entry));
	hold->refiller = true;
	seckill_cache_set_refilling(entry, true);
}

/* Give the role up before the end. */
void
seckill_hold_end_refill(CacheEntry *entry)
{
	int			level = GetCurrentTransactionNestLevel();

	for (int i = 0; i < nholds; i++)
	{
		Hold	   *hold = &holds[i];

		if (hold->entry != entry || hold->level != level || !hold->refiller)
			continue;
		hold->refiller = false;
		seckill_cache_set_refilling(entry, false);
		drop_if_empty(hold);
		return;
	}
}


/*
 * The end of a transaction
 */

static void
commit_hold(Hold *hold)
{
	seckill_cache_adjust(hold->entry, hold->lease_id, hold->credit,
						 -(hold->hold + hold->credit));
	if (hold->refiller)
		seckill_cache_set_refilling(hold->entry, false);
}

static void
abort_hold(Hold *hold)
{
	seckill_cache_adjust(hold->entry, hold->lease_id, hold->hold,
						 -(hold->hold + hold->credit));
	if (hold->refiller)
		seckill_cache_set_refilling(hold->entry, false);
}

/* Undo or keep what the last hold has, and remove it. */
static void
end_hold(Hold *hold, bool committed)
{
	if (SECKILL_SKIP("units given back"))
		;						/* they are lost */
	else if (committed)
		commit_hold(hold);
	else
		abort_hold(hold);
	if (SECKILL_SKIP("holder hidden"))
		nholds--;
	else
		drop_hold(hold);
}

/* The transaction has ended: commit or undo all that it holds. */
void
seckill_hold_end(bool committed)
{
	while (nholds > 0)
		end_hold(&holds[nholds - 1], committed);
}

/* Does this transaction hold units, or a refiller's role? */
bool
seckill_hold_any(void)
{
	return nholds > 0;
}


/*
 * The end of a subtransaction
 */

/* A committed level becomes part of the one around it. */
static void
lift_hold(Hold *hold)
{
	Hold	   *outer = find_hold(hold->entry, hold->level - 1,
								  hold->lease_id);

	if (outer == NULL)
	{
		hold->level--;
		return;
	}
	outer->hold += hold->hold;
	outer->credit += hold->credit;
	outer->sold |= hold->sold;
	outer->refiller |= hold->refiller;
	seckill_holder_begin_move();
	publish(outer);
	hold->hold = hold->credit = 0;
	publish(hold);
	seckill_holder_end_move();
	drop_hold(hold);
}

/* What a level holds becomes its parent's. */
void
seckill_hold_commit_level(int level)
{
	for (int i = nholds - 1; i >= 0; i--)
		if (i < nholds && holds[i].level == level)
			lift_hold(&holds[i]);
}

/* Give back what a level and those inside it hold. */
void
seckill_hold_abort_level(int level)
{
	for (int i = nholds - 1; i >= 0; i--)
		if (holds[i].level >= level)
		{
			abort_hold(&holds[i]);
			drop_hold(&holds[i]);
		}
}
