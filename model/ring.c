/*
 * ring.c
 *		Test of the ring of numbers (src/shmem/numbers.h) against a plain list.
 *
 * The laws check which numbers are in a ring, not their order.  check_ring()
 * checks the order, before the first round.
 */
#include <string.h>

#include "chance.h"
#include "laws.h"
#include "model.h"
#include "ring.h"

#define RING_STEPS	10000

static NumberRing ring;
static int32 list[NUMBERS_RING];	/* from head to tail */
static int32 listed;

static void
take_some(void)
{
	int32		numbers[NUMBERS_RING];
	int32		n = below(listed + 1);

	ring_take(&ring, numbers, n);
	if (memcmp(numbers, list, sizeof(int32) * (size_t) n) != 0)
		broken("the ring and the list return different numbers", 0);
	listed -= n;
	memmove(list, list + n, sizeof(int32) * (size_t) listed);
}

/* Draw at most as many new numbers as there is room for; returns how many. */
static int32
draw_some(int32 *numbers)
{
	int32		n = below(NUMBERS_RING - listed + 1);

	for (int32 i = 0; i < n; i++)
		numbers[i] = below(INT32_MAX);
	return n;
}

static void
return_some(void)
{
	int32		numbers[NUMBERS_RING];
	int32		n = draw_some(numbers);

	ring_return(&ring, numbers, n);
	memmove(list + n, list, sizeof(int32) * (size_t) listed);
	memcpy(list, numbers, sizeof(int32) * (size_t) n);
	listed += n;
}

static void
refill_some(void)
{
	int32		numbers[NUMBERS_RING];
	int32		n = draw_some(numbers);

	ring_refill(&ring, listed, numbers, n);
	memcpy(list + listed, numbers, sizeof(int32) * (size_t) n);
	listed += n;
}

/* Run random operations on both, and compare them. */
void
check_ring(void)
{
	for (int i = 0; i < RING_STEPS; i++)
		switch (below(3))
		{
			case 0:
				take_some();
				break;
			case 1:
				return_some();
				break;
			default:
				refill_some();
				break;
		}
}
