/*
 * item_set.c
 *		A set of items, in ascending order.
 *
 * The queue worker collects in it the items of purchases that it has deferred.
 * A set may have an item for each purchase in the queue, so it is a sorted
 * array that may be larger than 1 GB.
 */
#include "postgres.h"

#include "lib/qunique.h"
#include "utils/memutils.h"

#include "worker/item_set.h"

static int
compare_ids(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

bool
seckill_item_set_has(const ItemSet *set, int64 item_id)
{
	return set->n > 0 &&
		bsearch(&item_id, set->ids, set->n, sizeof(int64), compare_ids) != NULL;
}

/* Allocate space for n more items. */
static void
reserve(ItemSet *set, int n)
{
	Size		size = (Size) (set->n + n) * sizeof(int64);

	set->ids = set->ids == NULL ?
		MemoryContextAllocHuge(set->context, size) :
		repalloc_huge(set->ids, size);
}

/* Add the items of undecided purchases; return the number of purchases. */
int
seckill_item_set_add_undecided(ItemSet *set, const Purchase *list, int n)
{
	int			undecided = 0;

	for (int i = 0; i < n; i++)
		undecided += list[i].outcome == SECKILL_QUEUED;
	if (undecided == 0)
		return 0;
	reserve(set, undecided);
	for (int i = 0; i < n; i++)
		if (list[i].outcome == SECKILL_QUEUED)
			set->ids[set->n++] = list[i].item_id;
	qsort(set->ids, set->n, sizeof(int64), compare_ids);
	set->n = (int) qunique(set->ids, set->n, sizeof(int64), compare_ids);
	return undecided;
}

/*
 * Return the item that follows the given one, in a circle.  The set has one.
 */
int64
seckill_item_set_next(const ItemSet *set, int64 item_id)
{
	for (int i = 0; i < set->n; i++)
		if (set->ids[i] > item_id)
			return set->ids[i];
	return set->ids[0];
}
