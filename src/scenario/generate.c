/*
 * generate.c
 *		Generators of what numbered units are worth: shares of an amount,
 *		prizes, codes.
 *
 * Everything is generated before the sale, so that a purchase computes no
 * amount and draws no random number.  Amounts and prizes are functions of a
 * seed: with the seed, anyone can repeat the call after the sale and compare.
 * Codes are secrets, so they are not made from a seed.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "scenario/generate.h"

/* How often a loop looks for interrupts. */
#define INTERRUPT_STEPS	0xFFFF


/*
 * Exchange every place with a random one before it or itself (Fisher-Yates).
 */
static void
shuffle(int64 *amounts, int n, RandomStream *stream)
{
	for (int i = n - 1; i >= 1; i--)
	{
		int			j = (int) seckill_stream_uniform(stream, i + 1);
		int64		amount = amounts[i];

		amounts[i] = amounts[j];
		amounts[j] = amount;
	}
}

/*
 * Divide an amount into shares that differ by one unit at most: the first
 * total mod shares of them are the larger ones.
 */
void
seckill_divide_evenly(int64 total, int shares, int64 *amounts)
{
	for (int i = 0; i < shares; i++)
		amounts[i] = total / shares + (i < total % shares);
}

/*
 * A share of what is left for n places, n > 1, between min and max.
 *
 * The share is uniform in a window that is symmetrical about the mean of what
 * is left, so every share has the same expected value, and what is left can
 * still be divided within the bounds.  The window touches the nearer bound.
 * Where twice the mean is no integer, the window's other end is rounded up
 * with the probability of the fraction.
 */
static int64
next_share(int64 left, int n, int64 min, int64 max, RandomStream *stream)
{
	int64		fraction = 2 * left % n;
	int64		width = 2 * left / n;
	bool		near_min = width + (fraction > 0) <= min + max;
	int64		low;
	int64		high;

	if (fraction > 0 && seckill_stream_uniform(stream, n) < (uint64) fraction)
		width++;
	if (near_min)
	{
		low = min;
		high = width - min;
	}
	else
	{
		low = width - max;
		high = max;
	}
	return low + (int64) seckill_stream_uniform(stream,
												(uint64) (high - low) + 1);
}

/*
 * Divide an amount by chance.  The shares add up to total, are between min and
 * max, have equal expected values, and are exchangeable: the places are
 * shuffled at the end, so it does not matter when one comes.  The caller has
 * checked that shares * min <= total <= shares * max.
 */
void
seckill_divide_by_chance(int64 total, int shares, int64 min, int64 max,
						 RandomStream *stream, int64 *amounts)
{
	int64		left = total;

	for (int n = shares; n >= 2; n--)
	{
		amounts[shares - n] = next_share(left, n, min, max, stream);
		left -= amounts[shares - n];
	}
	amounts[shares - 1] = left;
	shuffle(amounts, shares, stream);
}


/*
 * Prizes
 */

typedef struct Prize
{
	int32		prize;			/* its number, from 1 on */
	int32		quantity;
} Prize;

/* The rarest first; of equally rare ones, in the order of their numbers. */
static int
compare_prizes(const void *a, const void *b)
{
	const Prize *p = a;
	const Prize *q = b;

	if (p->quantity != q->quantity)
		return p->quantity < q->quantity ? -1 : 1;
	return p->prize < q->prize ? -1 : p->prize > q->prize;
}

/*
 * Put the units of a prize into stretches of equal length, one each: in a
 * random place of the stretch, or the next free one.
 */
static void
spread_prize(const Prize *p, int draws, RandomStream *stream, int32 *prizes)
{
	for (int64 j = 0; j < p->quantity; j++)
	{
		int64		start = draws * j / p->quantity;
		int64		end = draws * (j + 1) / p->quantity;
		int64		place = start +
			(int64) seckill_stream_uniform(stream, end - start);

		while (prizes[place] != NO_PRIZE)
			place = (place + 1) % draws;
		prizes[place] = p->prize;
		if ((j & INTERRUPT_STEPS) == 0)
			CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Choose a uniform sample of places for all prizes: exchange each of the first
 * places with a random one from it on (Fisher-Yates from the front).
 */
static void
scatter_prizes(const Prize *list, int n, int draws, RandomStream *stream,
			   int32 *prizes)
{
	int			i = 0;

	for (int k = 0; k < n; k++)
		for (int j = 0; j < list[k].quantity; j++)
			prizes[i++] = list[k].prize;
	for (int used = i, k = 0; k < used; k++)
	{
		int64		other = k +
			(int64) seckill_stream_uniform(stream, draws - k);
		int32		prize = prizes[k];

		prizes[k] = prizes[other];
		prizes[other] = prize;
		if ((k & INTERRUPT_STEPS) == 0)
			CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Deal n kinds of prizes to places; NO_PRIZE is left where there is none.
 * With spread, the number of prizes after any number of draws is close to
 * proportional.  The caller has checked that the quantities add up to draws at
 * most, and that none is negative.
 */
void
seckill_deal(int draws, const int32 *quantities, int n, bool spread,
			 RandomStream *stream, int32 *prizes)
{
	Prize	   *list = palloc(Max(n, 1) * sizeof(Prize));

	for (int i = 0; i < n; i++)
	{
		list[i].prize = i + 1;
		list[i].quantity = quantities[i];
	}
	qsort(list, n, sizeof(Prize), compare_prizes);
	memset(prizes, 0, draws * sizeof(int32));
	if (spread)
		for (int i = 0; i < n; i++)
			spread_prize(&list[i], draws, stream, prizes);
	else
		scatter_prizes(list, n, draws, stream, prizes);
	pfree(list);
}


/*
 * Codes
 */

/* Digits and letters without those that look alike: no 0 O 1 I L. */
static const char alphabet[] = "23456789ABCDEFGHJKMNPQRSTUVWXYZ";

#define LETTERS		((int) sizeof(alphabet) - 1)

/* How many characters of a code does the pattern leave to chance? */
int
seckill_code_stars(const char *pattern)
{
	int			stars = 0;

	for (const char *c = pattern; *c != '\0'; c++)
		stars += *c == '*';
	return stars;
}

/* A random letter; bytes from the largest multiple on are skipped. */
static char
random_letter(void)
{
	uint8		byte;

	do
	{
		if (!pg_strong_random(&byte, sizeof(byte)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random codes")));
	} while (byte >= 256 / LETTERS * LETTERS);
	return alphabet[byte % LETTERS];
}

/* Make a code: each star of the pattern becomes a random letter. */
void
seckill_code_make(const char *pattern, char *code)
{
	for (; *pattern != '\0'; pattern++)
		*code++ = *pattern == '*' ? random_letter() : *pattern;
	*code = '\0';
}
