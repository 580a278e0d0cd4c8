/*
 * number_set.h
 *		Sets of unit numbers, as ranges in ascending order.
 */
#ifndef SECKILL_BASE_NUMBER_SET_H
#define SECKILL_BASE_NUMBER_SET_H

/* The numbers from first to last, both included. */
typedef struct NumberRange
{
	int32		first;
	int32		last;
} NumberRange;

/* Ranges in ascending order, with a gap between any two. */
typedef struct NumberSet
{
	int			n;
	int			size;			/* ranges that there is space for */
	NumberRange *ranges;
} NumberSet;

extern NumberSet *seckill_numbers_make(void);
extern NumberSet *seckill_numbers_read(Datum multirange);
extern Datum seckill_numbers_datum(const NumberSet *set);
extern Datum seckill_numbers_array_datum(const int32 *numbers, int n);
extern bool seckill_numbers_fragmented(Datum multirange, uint32 max_ranges);
extern int64 seckill_numbers_count(const NumberSet *set);
extern void seckill_numbers_append(NumberSet *set, int32 first, int32 last);
extern void seckill_numbers_take(NumberSet *set, int32 *numbers, int32 n);
extern NumberSet *seckill_numbers_minus(const NumberSet *set,
										const NumberSet *without);
extern NumberSet *seckill_numbers_without(const NumberSet *set,
										  const int32 *numbers, int n);
extern void seckill_numbers_merge(NumberSet *set, const NumberSet *other);
extern NumberSet *seckill_numbers_of_array(const int32 *numbers, int n);
extern int32 *seckill_numbers_array(const NumberSet *set);

#endif							/* SECKILL_BASE_NUMBER_SET_H */
