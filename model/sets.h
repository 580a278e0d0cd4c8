/*
 * sets.h
 *		Sets of numbers as bits, where the extension will have int8multirange.
 */
#ifndef MODEL_SETS_H
#define MODEL_SETS_H

#include "types.h"

typedef uint64 NumberSet;		/* bit n - 1 is number n */

#define NUMBERS		64			/* numbers that an item can have */

static inline NumberSet
set_of(int32 number)
{
	return UINT64_C(1) << (number - 1);
}

/* The numbers 1 to n; n is at most NUMBERS. */
static inline NumberSet
set_up_to(int32 n)
{
	return n <= 0 ? 0 : ~UINT64_C(0) >> (64 - n);
}

static inline int32
set_count(NumberSet set)
{
	return __builtin_popcountll(set);
}

/* The lowest number of a set that is not empty. */
static inline int32
set_lowest(NumberSet set)
{
	return __builtin_ctzll(set) + 1;
}

/* The lowest n numbers, or all if there are fewer. */
static inline NumberSet
set_first(NumberSet set, int32 n)
{
	NumberSet	rest = set;

	while (rest != 0 && n-- > 0)
		rest &= rest - 1;
	return set & ~rest;
}

/* Write the numbers in ascending order; returns how many. */
static inline int32
set_list(NumberSet set, int32 *numbers)
{
	int32		n = 0;

	for (; set != 0; set &= set - 1)
		numbers[n++] = set_lowest(set);
	return n;
}

#endif							/* MODEL_SETS_H */
