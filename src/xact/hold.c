/*
 * hold.c
 *		What the current transaction holds of the stock cache.
 *
 * A hold is what one nest level of this transaction has at one entry and
 * lease:
 *
 * - units on hold, which go back to the cache if the level aborts;
 * - credit, units that this transaction has leased from the row and that the
 *   cache gets at commit.  Selling from one's own credit lowers it, so the
 *   credit of an inner level can be negative;
 * - the role of the refiller.
 *
 * When a subtransaction commits, its holds move up a level.  When it aborts,
 * they are undone.  When the top transaction ends, src/callbacks.c has all of
 * them kept or undone.
 *
 * Hold i is shown to other backends as holder i (shmem/holders.c), from just
 * before it has units until just after.  Its xid is that of the level that
 * took the units, so waiters wake when just that level aborts.
 *
 * If the units have numbers, held_numbers.c knows which they are.
 *
 * Units are taken from and returned to the cache by shmem/cache_counters.c,
 * under the entry's spinlock.  What can raise an error, the xid and the limit
 * on holds, comes before the units are taken.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "utils/memutils.h"

#include "base/fault.h"
#include "seckill.h"
#include "shmem/cache_counters.h"
#include "shmem/counters.h"
#include "shmem/cache_numbers.h"
#include "shmem/holders.h"
#include "shmem/numbers.h"
#include "xact/held_numbers.h"
#include "xact/hold.h"

typedef struct Hold
{
	CacheEntry *entry;
	int			level;			/* transaction nest level */
	TransactionId xid;			/* of that level */
	int64		lease_id;
	int32		hold;			/* units on hold */
	int32		credit;			/* units leased and not sold */
	bool		sold;			/* has credit been sold? */
	bool		refiller;		/* has the role of the refiller */
} Hold;

static Hold holds[SECKILL_MAX_HOLDS];
static int	nholds = 0;


/*
 * Holds
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

/* Show the hold to other backends if it has units; else hide it. */
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
 * Make sure that the next get_hold() cannot fail, as it runs when the units
 * are already taken, and that so many numbers can be noted.  Assigns an xid to
 * this level.  Raises an error if there are too many holds.
 */
static void
prepare_hold(int numbers)
{
	if (numbers > 0)
		seckill_held_numbers_reserve(numbers);
	if (nholds >= SECKILL_MAX_HOLDS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("transaction has too many holds"),
				 errdetail("One transaction can have %d holds on units of the stock cache: items, times savepoints that bought them.",
						   SECKILL_MAX_HOLDS),
				 errhint("Commit, and buy the rest in another transaction.")));
	(void) GetCurrentTransactionId();
	SECKILL_FAULT("hold prepared");
}

/* Find or add the hold of this level.  Raises no error. */
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

/* Remove a hold; the last one moves into its slot. */
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

/* Remove the hold if it has nothing. */
static void
drop_if_empty(Hold *hold)
{
	if (hold->hold == 0 && hold->credit == 0 && !hold->refiller)
		drop_hold(hold);
}

/*
 * Does this transaction have slots for the holds of one more purchase?  If
 * not, the caller uses a mode that needs none.  A purchase can need three: the
 * role of the refiller, and units of the lease before and after a settle.
 */
bool
seckill_hold_has_slot(void)
{
	return nholds <= SECKILL_MAX_HOLDS - 3;
}

/* The units of a lease that this transaction has leased and not sold. */
static int32
own_credit(CacheEntry *entry, int64 lease_id)
{
	int32		credit = 0;

	for (int i = 0; i < nholds; i++)
		if (holds[i].entry == entry && holds[i].lease_id == lease_id)
			credit += holds[i].credit;
	return credit;
}

/* Set *own to what this transaction has of the entry's present lease. */
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
 * Does this transaction have more of the entry's present lease than the given
 * number of units on hold?  Any credit, sold or not, counts as more.
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
 * Allocate an array for the numbers of so many units; NULL if the units of the
 * entry have no numbers.  No call takes more than an entry can have.
 */
static int32 *
allocate_numbers(CacheEntry *entry, int32 units)
{
	return seckill_cache_is_numbered(entry) ?
		palloc(Min(units, NUMBERS_RING) * sizeof(int32)) : NULL;
}

/*
 * Take units from our own credit, and from the cache what the credit lacks;
 * all or nothing.  Our credit stays ours until commit, so it is read without a
 * lock.  May raise an error only before the units are taken.
 */
static void
take_with_credit(CacheEntry *entry, int32 quantity, TakenUnits *taken)
{
	int64		lease_id = seckill_cache_lease_id(entry);
	int32		drawn = Min(own_credit(entry, lease_id), quantity);
	int32	   *numbers;
	Hold	   *hold;

	if (drawn == 0)
		return;
	numbers = allocate_numbers(entry, quantity);
	prepare_hold(numbers != NULL ? Min(quantity, NUMBERS_RING) : 0);
	hold = get_hold(entry, lease_id);
	if (drawn < quantity)
	{
		seckill_holder_publish(hold - holds, entry, hold->xid);
		taken->numbers = numbers != NULL ? numbers + drawn : NULL;
		seckill_cache_take(entry, quantity - drawn, quantity - drawn, taken);
		if (taken->units == 0)
		{
			publish(hold);
			return;
		}
	}
	/* credit means that we have the row locked: nobody can end our lease */
	Assert(seckill_cache_lease_id(entry) == lease_id);
	if (numbers != NULL)
	{
		if (drawn < quantity)
			seckill_held_numbers_take(entry, lease_id, hold->level,
									  numbers + drawn, quantity - drawn);
		seckill_held_numbers_sell_credit(entry, lease_id, hold->level,
										 numbers, drawn);
	}
	taken->lease_id = lease_id;
	taken->units = quantity;
	taken->numbers = numbers;
	taken->low = false;
	hold->hold += quantity - drawn;
	hold->credit -= drawn;
	hold->sold = true;
	seckill_cache_adjust(entry, lease_id, 0, -drawn);
	publish(hold);
}

/*
 * Put from min to max units of the cache on hold.  Returns false, with nothing
 * taken, if there are fewer than min.  May raise an error only before the
 * units are taken.  The next free holder is shown meanwhile, and then the hold
 * that the units have gone to.
 */
static bool
take_between(CacheEntry *entry, int32 min, int32 max, TakenUnits *taken)
{
	Hold	   *hold;
	int			slot = nholds;

	taken->units = 0;
	if (seckill_cache_avail(entry) < min)
		return false;
	taken->numbers = allocate_numbers(entry, max);
	prepare_hold(taken->numbers != NULL ? Min(max, NUMBERS_RING) : 0);
	seckill_holder_publish(slot, entry, GetCurrentTransactionIdIfAny());
	seckill_cache_take(entry, min, max, taken);
	if (taken->units == 0)
	{
		seckill_holder_withdraw(slot);
		return false;
	}
	hold = get_hold(entry, taken->lease_id);
	hold->hold += taken->units;
	if (taken->numbers != NULL)
		seckill_held_numbers_take(entry, taken->lease_id, hold->level,
								  taken->numbers, taken->units);
	if (hold - holds == slot)
		return true;
	seckill_holder_begin_move();
	publish(hold);
	seckill_holder_withdraw(slot);
	seckill_holder_end_move();
	return true;
}

/*
 * Put quantity units on hold, all or nothing, from our own credit first.
 * Returns false, with nothing taken, if there are fewer.
 */
bool
seckill_hold_take(CacheEntry *entry, int32 quantity, TakenUnits *taken)
{
	taken->units = 0;
	if (nholds > 0)
		take_with_credit(entry, quantity, taken);
	return taken->units > 0 ||
		take_between(entry, quantity, quantity, taken);
}

/*
 * Put all units that the cache has on hold; our credit stays as it is.
 * Returns false if the cache has none.
 */
bool
seckill_hold_take_all(CacheEntry *entry, TakenUnits *taken)
{
	return take_between(entry, 1, PG_INT32_MAX, taken);
}

/*
 * Return what seckill_hold_take() took at this level from the cache.  Raises
 * an error if the hold does not have these units, because they came from
 * credit.
 */
void
seckill_hold_return(CacheEntry *entry, const TakenUnits *taken)
{
	Hold	   *hold = find_hold(entry, GetCurrentTransactionNestLevel(),
								 taken->lease_id);

	if (hold == NULL || hold->hold < taken->units ||
		(taken->numbers != NULL &&
		 !seckill_held_numbers_remove(entry, taken->lease_id, hold->level,
									  taken->numbers, taken->units)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("units that this transaction is moving to the stock cache cannot be bought yet"),
				 errhint("Look for a trigger BEFORE UPDATE on seckill.items that buys, or make it an AFTER trigger. After TRUNCATE of items, commit first.")));
	hold->hold -= taken->units;
	if (taken->numbers != NULL)
		seckill_cache_put_back(entry, taken->lease_id, taken->numbers,
							   taken->units, -taken->units);
	else
		seckill_cache_adjust(entry, taken->lease_id, taken->units,
							 -taken->units);
	publish(hold);
	drop_if_empty(hold);
}

/*
 * Add units that this level has leased from the row to its credit: the cache
 * gets them at commit.
 */
void
seckill_hold_credit(CacheEntry *entry, int64 lease_id, int32 units)
{
	Hold	   *hold;

	seckill_cache_drop_ring(entry);
	if (seckill_cache_is_numbered(entry))
		elog(ERROR, "units without numbers meet units with numbers");
	prepare_hold(0);
	hold = get_hold(entry, lease_id);
	hold->credit += units;
	publish(hold);
	seckill_cache_adjust(entry, lease_id, 0, units);
}

/*
 * The same as seckill_hold_credit() for units with numbers.  Returns false,
 * with nothing changed, if the entry has no number ring and gets none.
 */
bool
seckill_hold_credit_numbers(CacheEntry *entry, int64 lease_id,
							const int32 *numbers, int32 units)
{
	Hold	   *hold;
	bool		counted = false;

	prepare_hold(units);
	hold = get_hold(entry, lease_id);
	hold->credit += units;
	publish(hold);
	while (!counted && seckill_cache_add_ring(entry, true))
		counted = seckill_cache_hold_numbered(entry, lease_id, units);
	if (counted)
	{
		seckill_held_numbers_lease(entry, lease_id, hold->level, numbers,
								   units);
		return true;
	}
	hold->credit -= units;
	publish(hold);
	drop_if_empty(hold);
	return false;
}

/*
 * Become the refiller of the entry, until this level ends or until
 * seckill_hold_end_refill().  The caller has the refiller's lock.
 */
void
seckill_hold_start_refill(CacheEntry *entry)
{
	Hold	   *hold;

	prepare_hold(0);
	hold = get_hold(entry, seckill_cache_lease_id(entry));
	hold->refiller = true;
	seckill_cache_set_refilling(entry, true);
}

/* Give up the role of the refiller before this level ends. */
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

/* Give the credit to the cache; the units on hold are sold. */
static void
commit_hold(Hold *hold)
{
	int			n;
	const int32 *numbers = seckill_held_numbers_of_credit(hold->entry,
														  hold->lease_id, &n);

	if (n > 0)
		seckill_cache_refill(hold->entry, hold->lease_id, numbers, n,
							 -(hold->hold + hold->credit));
	else
		seckill_cache_adjust(hold->entry, hold->lease_id, hold->credit,
							 -(hold->hold + hold->credit));
	if (hold->refiller)
		seckill_cache_set_refilling(hold->entry, false);
}

/* Return the units on hold to the cache; the lease of the credit is undone. */
static void
abort_hold(Hold *hold)
{
	int			n;
	const int32 *numbers = seckill_held_numbers_to_return(hold->entry,
														  hold->lease_id,
														  hold->level, &n);

	if (n > 0)
		seckill_cache_put_back(hold->entry, hold->lease_id, numbers, n,
							   -(hold->hold + hold->credit));
	else
		seckill_cache_adjust(hold->entry, hold->lease_id, hold->hold,
							 -(hold->hold + hold->credit));
	if (hold->refiller)
		seckill_cache_set_refilling(hold->entry, false);
}

/* Commit or abort the last hold, and remove it. */
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

/*
 * The transaction has ended: commit or abort all its holds.  Raises nothing.
 */
void
seckill_hold_end(bool committed)
{
	while (nholds > 0)
		end_hold(&holds[nholds - 1], committed);
	seckill_held_numbers_end();
}

/* Does this transaction have any units on hold, credit or role of refiller? */
bool
seckill_hold_any(void)
{
	return nholds > 0;
}


/*
 * The end of a subtransaction
 */

/* Move a hold to the level around it, and merge it with the hold there. */
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

/* A level has committed: its holds become those of its parent. */
void
seckill_hold_commit_level(int level)
{
	for (int i = nholds - 1; i >= 0; i--)
		if (i < nholds && holds[i].level == level)
			lift_hold(&holds[i]);
	seckill_held_numbers_commit_level(level);
}

/* A level has aborted: undo its holds, and those of the levels inside it. */
void
seckill_hold_abort_level(int level)
{
	for (int i = nholds - 1; i >= 0; i--)
		if (holds[i].level >= level)
		{
			abort_hold(&holds[i]);
			drop_hold(&holds[i]);
		}
	seckill_held_numbers_abort_level(level);
}
