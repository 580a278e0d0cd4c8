/*
 * number_set.c
 *		Sets of unit numbers: read from and made into int8multirange.
 *
 * The tables keep a set as an int8multirange, which SQL can compute with.  The
 * code takes numbers out of it and adds some, in a list of ranges.  A number
 * is an int32; the type in the tables is wider because the upper bound of a
 * range is one more than its last number.
 *
 * Sets are allocated in the current memory context.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "base/number_set.h"

/* The type of the ranges in an int8multirange. */
static TypeCacheEntry *
range_type(void)
{
	return lookup_type_cache(INT8MULTIRANGEOID,
							 TYPECACHE_MULTIRANGE_INFO)->rngtype;
}

/* Return an empty set. */
NumberSet *
seckill_numbers_make(void)
{
	NumberSet  *set = palloc(sizeof(NumberSet));

	set->n = 0;
	set->size = 4;
	set->ranges = palloc(set->size * sizeof(NumberRange));
	return set;
}

/*
 * Add the numbers from first to last, all of which are greater than those in
 * the set.
 */
void
seckill_numbers_append(NumberSet *set, int32 first, int32 last)
{
	if (set->n > 0 && (int64) set->ranges[set->n - 1].last + 1 == first)
	{
		set->ranges[set->n - 1].last = last;
		return;
	}
	if (set->n == set->size)
	{
		set->size *= 2;
		set->ranges = repalloc_huge(set->ranges,
									set->size * sizeof(NumberRange));
	}
	set->ranges[set->n].first = first;
	set->ranges[set->n].last = last;
	set->n++;
}

/*
 * Read a set.  Raises an error for a bound that no number can have, which only
 * a damaged row has.
 */
NumberSet *
seckill_numbers_read(Datum multirange)
{
	MultirangeType *value = DatumGetMultirangeTypeP(multirange);
	TypeCacheEntry *type = range_type();
	NumberSet  *set = seckill_numbers_make();

	for (uint32 i = 0; i < value->rangeCount; i++)
	{
		RangeBound	lower;
		RangeBound	upper;

		multirange_get_bounds(type, value, i, &lower, &upper);
		if (lower.infinite || upper.infinite ||
			DatumGetInt64(lower.val) < 1 ||
			DatumGetInt64(upper.val) - 1 > PG_INT32_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("set of unit numbers is out of range")));
		seckill_numbers_append(set, (int32) DatumGetInt64(lower.val),
							   (int32) (DatumGetInt64(upper.val) - 1));
	}
	return set;
}

/* Does the set have more ranges than this? */
bool
seckill_numbers_fragmented(Datum multirange, uint32 max_ranges)
{
	return DatumGetMultirangeTypeP(multirange)->rangeCount > max_ranges;
}

/* Make an int8multirange of the set. */
Datum
seckill_numbers_datum(const NumberSet *set)
{
	TypeCacheEntry *type = range_type();
	RangeType **ranges = palloc_extended(Max(set->n, 1) * sizeof(RangeType *),
										 MCXT_ALLOC_HUGE);

	for (int i = 0; i < set->n; i++)
	{
		RangeBound	lower = {
			.val = Int64GetDatum(set->ranges[i].first),
			.inclusive = true,
			.lower = true
		};
		RangeBound	upper = {
			.val = Int64GetDatum((int64) set->ranges[i].last + 1)
		};

		ranges[i] = SeckillMakeRange(type, &lower, &upper);
	}
	return MultirangeTypePGetDatum(make_multirange(INT8MULTIRANGEOID, type,
												   set->n, ranges));
}

/* Return how many numbers the set has. */
int64
seckill_numbers_count(const NumberSet *set)
{
	int64		count = 0;

	for (int i = 0; i < set->n; i++)
		count += (int64) set->ranges[i].last - set->ranges[i].first + 1;
	return count;
}

/* Move the n lowest numbers of the set, which has that many, to an array. */
void
seckill_numbers_take(NumberSet *set, int32 *numbers, int32 n)
{
	int			used = 0;

	while (n > 0)
	{
		NumberRange *range = &set->ranges[used];

		*numbers++ = range->first;
		n--;
		if (range->first == range->last)
			used++;
		else
			range->first++;
	}
	set->n -= used;
	memmove(set->ranges, set->ranges + used, set->n * sizeof(NumberRange));
}

/* Add the numbers of another set, which has none of this one's. */
void
seckill_numbers_merge(NumberSet *set, const NumberSet *other)
{
	NumberSet  *merged = seckill_numbers_make();
	int			i = 0;
	int			j = 0;

	while (i < set->n || j < other->n)
	{
		const NumberRange *next;

		if (j == other->n ||
			(i < set->n && set->ranges[i].first < other->ranges[j].first))
			next = &set->ranges[i++];
		else
			next = &other->ranges[j++];
		seckill_numbers_append(merged, next->first, next->last);
	}
	*set = *merged;
}

static int
compare_numbers(const void *a, const void *b)
{
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	return x < y ? -1 : x > y;
}

/* Make a set of the n numbers of an array, which are distinct. */
NumberSet *
seckill_numbers_of_array(const int32 *numbers, int n)
{
	NumberSet  *set = seckill_numbers_make();
	int32	   *sorted = palloc_extended(Max(n, 1) * sizeof(int32),
										 MCXT_ALLOC_HUGE);

	if (n > 0)
		memcpy(sorted, numbers, n * sizeof(int32));
	qsort(sorted, n, sizeof(int32), compare_numbers);
	for (int i = 0; i < n; i++)
		seckill_numbers_append(set, sorted[i], sorted[i]);
	pfree(sorted);
	return set;
}

/* Append what is left of a range without the ascending numbers in between. */
static void
append_without(NumberSet *set, NumberRange range, const NumberSet *without,
			   int *next)
{
	int64		first = range.first;

	for (; *next < without->n && without->ranges[*next].first <= range.last;
		 (*next)++)
	{
		const NumberRange *gap = &without->ranges[*next];

		if (gap->first > first)
			seckill_numbers_append(set, (int32) first, gap->first - 1);
		first = Max(first, (int64) gap->last + 1);
		if (gap->last > range.last)
			break;
	}
	if (first <= range.last)
		seckill_numbers_append(set, (int32) first, range.last);
}

/* Return a copy of the set without the numbers of another one. */
NumberSet *
seckill_numbers_minus(const NumberSet *set, const NumberSet *without)
{
	NumberSet  *left = seckill_numbers_make();
	int			next = 0;

	for (int i = 0; i < set->n; i++)
	{
		while (next < without->n &&
			   without->ranges[next].last < set->ranges[i].first)
			next++;
		append_without(left, set->ranges[i], without, &next);
	}
	return left;
}

/* Return a copy of the set without the n numbers of an array. */
NumberSet *
seckill_numbers_without(const NumberSet *set, const int32 *numbers, int n)
{
	return seckill_numbers_minus(set, seckill_numbers_of_array(numbers, n));
}

/* Return the numbers of the set as an array of seckill_numbers_count(). */
int32 *
seckill_numbers_array(const NumberSet *set)
{
	int32	   *numbers = palloc_extended(Max(seckill_numbers_count(set), 1) * sizeof(int32),
										  MCXT_ALLOC_HUGE);
	int64		n = 0;

	for (int i = 0; i < set->n; i++)
		for (int64 number = set->ranges[i].first;
			 number <= set->ranges[i].last; number++)
			numbers[n++] = (int32) number;
	return numbers;
}

/* Make an int8multirange of the n numbers of an array, which are distinct. */
Datum
seckill_numbers_array_datum(const int32 *numbers, int n)
{
	return seckill_numbers_datum(seckill_numbers_of_array(numbers, n));
}
