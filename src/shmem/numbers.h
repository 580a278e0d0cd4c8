/*
 * numbers.h
 *		The arithmetic of numbered units: the ring of numbers beside a cache
 *		entry, and what happens to a held number when a transaction level ends.
 *
 * cache_counters.c and xact/held_numbers.c use it; the model in model/ runs the
 * protocol around it without a server.
 *
 * Each unit of a numbered item has a number.  Counters say how many units are
 * on sale, a ring says which.  Entry c and its ring change under one spinlock,
 * and the ring has c->avail numbers.  Nothing here may need PostgreSQL: the
 * includer defines the type int32, includes counters.h first, and may set
 * NUMBERS_RING.
 */
#ifndef SECKILL_NUMBERS_H
#define SECKILL_NUMBERS_H

#include <stdbool.h>
#include <string.h>

/* Numbers that a ring can hold; a power of two. */
#ifndef NUMBERS_RING
#define NUMBERS_RING 1024
#endif
#if (NUMBERS_RING & (NUMBERS_RING - 1)) != 0
#error "NUMBERS_RING must be a power of two"
#endif

/*
 * Numbers leave at the head.  A refill adds at the tail; a returned number is
 * put back at the head.  So a buyer gets the number that was offered first.
 * Numbers are moved in before their units are counted as on sale, and only if
 * they belong to the entry's lease.
 */
typedef struct NumberRing
{
	int32		head;			/* index of the next one */
	int32		numbers[NUMBERS_RING];
} NumberRing;

/*
 * A number that a transaction has taken out of the ring.  Levels are nest
 * levels of subtransactions, 1 at the top.
 */
typedef struct NumberHold
{
	int32		number;
	int32		level;			/* level that took it, or can sell it */
	int32		leased_level;	/* level that moved it from the row; 0: it is
								 * from the ring */
	bool		credit;			/* leased by this transaction, not sold yet */
} NumberHold;

/* What happens to a held number when a level aborts. */
typedef enum NumberFate
{
	NUMBER_STAYS,				/* with the transaction */
	NUMBER_RETURNS,				/* to the ring */
	NUMBER_VANISHES				/* its lease is rolled back: it is on the row */
} NumberFate;

/* Reduce a position to an index of the ring. */
static inline int32
ring_place(int32 place)
{
	return place & (NUMBERS_RING - 1);
}

/*
 * Return how many more numbers may be leased.  Held numbers may return, so
 * room is kept for them.
 */
static inline int32
ring_room(const LeaseCounters *c)
{
	return NUMBERS_RING - c->avail - c->held;
}

/* Take n numbers out, the next one first; the ring has that many. */
static inline void
ring_take(NumberRing *ring, int32 *numbers, int32 n)
{
	int32		part = NUMBERS_RING - ring->head;

	part = part < n ? part : n;
	memcpy(numbers, ring->numbers + ring->head, sizeof(int32) * (size_t) part);
	memcpy(numbers + part, ring->numbers, sizeof(int32) * (size_t) (n - part));
	ring->head = ring_place(ring->head + n);
}

/* Write n numbers from the given index on. */
static inline void
ring_write(NumberRing *ring, int32 place, const int32 *numbers, int32 n)
{
	int32		part = NUMBERS_RING - place;

	part = part < n ? part : n;
	memcpy(ring->numbers + place, numbers, sizeof(int32) * (size_t) part);
	memcpy(ring->numbers, numbers + part, sizeof(int32) * (size_t) (n - part));
}

/* Put n numbers before those in the ring; the first becomes the next one. */
static inline void
ring_return(NumberRing *ring, const int32 *numbers, int32 n)
{
	ring->head = ring_place(ring->head - n);
	ring_write(ring, ring->head, numbers, n);
}

/* Put n numbers behind the avail ones in the ring. */
static inline void
ring_refill(NumberRing *ring, int32 avail, const int32 *numbers, int32 n)
{
	ring_write(ring, ring_place(ring->head + avail), numbers, n);
}

/*
 * A level aborts; return what happens to the number.  A number that the level
 * has leased is no longer leased.  One that it took from an outer level's
 * credit can be sold by that level again: no other transaction may see it
 * before commit.
 */
static inline NumberFate
number_abort(NumberHold *hold, int32 level)
{
	if (hold->leased_level >= level)
		return NUMBER_VANISHES;
	if (hold->level < level)
		return NUMBER_STAYS;
	if (hold->leased_level == 0)
		return NUMBER_RETURNS;
	hold->level = hold->leased_level;
	hold->credit = true;
	return NUMBER_STAYS;
}

/* A level commits: what it took and leased belongs to the outer level now. */
static inline void
number_commit(NumberHold *hold, int32 level)
{
	if (hold->level >= level)
		hold->level = level - 1;
	if (hold->leased_level >= level)
		hold->leased_level = level - 1;
}

#endif							/* SECKILL_NUMBERS_H */
