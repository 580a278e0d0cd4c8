/*
 * chance.c
 *		Pseudo-random numbers: the same seed gives the same run.
 *
 * The generator is SplitMix64: Steele, Lea and Flood, "Fast Splittable
 * Pseudorandom Number Generators", OOPSLA 2014.
 */
#include "chance.h"

/* parameters */
uint64		seed = 1;

/* the run */
uint64		state;				/* of the generator */

static uint64
next_random(void)
{
	uint64		z = (state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

/* A random number from 0 to n - 1. */
int
below(int n)
{
	return (int) (next_random() % (uint64) n);
}

/* True with probability 1/n. */
bool
one_in(int n)
{
	return below(n) == 0;
}
