/*
 * held_numbers.c
 *		The numbers of the units that the current transaction holds.
 *
 * hold.c counts the units of a hold or a credit.  Where units have numbers,
 * this file knows which: one element for each unit, in the order in which they
 * were taken or leased.  An element has two nest levels, that which took the
 * unit and that which leased it from the row (0: it is from the cache);
 * shmem/numbers.h says what becomes of it when a level ends.
 *
 * The array grows only in seckill_held_numbers_reserve(), before units are
 * taken.  The other functions raise nothing and allocate nothing, and those
 * that return an array return a static one, which the next call overwrites.
 * An entry has at most NUMBERS_RING units with numbers on sale and on hold.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "seckill.h"
#include "shmem/counters.h"
#include "shmem/numbers.h"
#include "xact/held_numbers.h"

typedef struct HeldNumber
{
	CacheEntry *entry;
	int64		lease_id;
	NumberHold	hold;
} HeldNumber;

static HeldNumber *held = NULL;
static int	nheld = 0;
static int	size = 0;

static int32 result[NUMBERS_RING];

/*
 * Make sure that n numbers can be added without an allocation.  May raise an
 * error.
 */
void
seckill_held_numbers_reserve(int n)
{
	int			new_size = Max(size, 64);

	if (nheld + n <= size)
		return;
	while (new_size < nheld + n)
		new_size *= 2;
	if (held == NULL)
		held = MemoryContextAllocHuge(TopMemoryContext,
									  new_size * sizeof(HeldNumber));
	else
		held = repalloc_huge(held, new_size * sizeof(HeldNumber));
	size = new_size;
}

/* Is it a number of this entry and lease? */
static inline bool
is_of(const HeldNumber *h, CacheEntry *entry, int64 lease_id)
{
	return h->entry == entry && h->lease_id == lease_id;
}

/* Add numbers; the space was reserved. */
static void
add(CacheEntry *entry, int64 lease_id, NumberHold hold, const int32 *numbers,
	int n)
{
	Assert(nheld + n <= size);
	for (int i = 0; i < n; i++)
	{
		hold.number = numbers[i];
		held[nheld].entry = entry;
		held[nheld].lease_id = lease_id;
		held[nheld].hold = hold;
		nheld++;
	}
}

/* Add numbers that a level has taken from the cache. */
void
seckill_held_numbers_take(CacheEntry *entry, int64 lease_id, int level,
						  const int32 *numbers, int n)
{
	NumberHold	hold = {.level = level};

	add(entry, lease_id, hold, numbers, n);
}

/* Add numbers that a level has leased from the row, as credit. */
void
seckill_held_numbers_lease(CacheEntry *entry, int64 lease_id, int level,
						   const int32 *numbers, int n)
{
	NumberHold	hold = {
		.level = level,
		.leased_level = level,
		.credit = true
	};

	add(entry, lease_id, hold, numbers, n);
}

/* A level sells n numbers of the credit, which has that many. */
void
seckill_held_numbers_sell_credit(CacheEntry *entry, int64 lease_id, int level,
								 int32 *numbers, int n)
{
	for (int i = 0; i < nheld && n > 0; i++)
		if (is_of(&held[i], entry, lease_id) && held[i].hold.credit)
		{
			held[i].hold.credit = false;
			held[i].hold.level = level;
			*numbers++ = held[i].hold.number;
			n--;
		}
	Assert(n == 0);
}

/* The position of a number that the level has taken from the cache, or -1. */
static int
find_taken(CacheEntry *entry, int64 lease_id, int level, int32 number)
{
	for (int i = nheld - 1; i >= 0; i--)
		if (is_of(&held[i], entry, lease_id) &&
			held[i].hold.number == number && held[i].hold.level == level &&
			held[i].hold.leased_level == 0)
			return i;
	return -1;
}

static void
remove_at(int i)
{
	nheld--;
	memmove(&held[i], &held[i + 1], (nheld - i) * sizeof(HeldNumber));
}

/*
 * Remove numbers that the level has taken from the cache.  Returns false, with
 * nothing removed, if one of them was not.
 */
bool
seckill_held_numbers_remove(CacheEntry *entry, int64 lease_id, int level,
							const int32 *numbers, int n)
{
	for (int i = 0; i < n; i++)
		if (find_taken(entry, lease_id, level, numbers[i]) < 0)
			return false;
	for (int i = 0; i < n; i++)
		remove_at(find_taken(entry, lease_id, level, numbers[i]));
	return true;
}

/*
 * The numbers that return to the cache if the level aborts: those that it has
 * taken from there.
 */
const int32 *
seckill_held_numbers_to_return(CacheEntry *entry, int64 lease_id, int level,
							   int *n)
{
	*n = 0;
	for (int i = 0; i < nheld; i++)
		if (is_of(&held[i], entry, lease_id) &&
			held[i].hold.level == level && held[i].hold.leased_level == 0)
			result[(*n)++] = held[i].hold.number;
	return result;
}

/* The numbers of the credit, which the cache gets at commit. */
const int32 *
seckill_held_numbers_of_credit(CacheEntry *entry, int64 lease_id, int *n)
{
	*n = 0;
	for (int i = 0; i < nheld; i++)
		if (is_of(&held[i], entry, lease_id) && held[i].hold.credit)
			result[(*n)++] = held[i].hold.number;
	return result;
}

/* A level has committed: its numbers belong to the level around it. */
void
seckill_held_numbers_commit_level(int level)
{
	for (int i = 0; i < nheld; i++)
		number_commit(&held[i].hold, level);
}

/*
 * A level has aborted: forget its numbers, those inside it included, but for
 * what it has sold from the credit of a level around it.
 */
void
seckill_held_numbers_abort_level(int level)
{
	int			kept = 0;

	for (int i = 0; i < nheld; i++)
		if (number_abort(&held[i].hold, level) == NUMBER_STAYS)
			held[kept++] = held[i];
	nheld = kept;
}

/* The transaction has ended: forget all numbers. */
void
seckill_held_numbers_end(void)
{
	nheld = 0;
}
