/*
 * generate_sql.c
 *		SQL calls that generate shares of an amount, prizes and codes.
 *
 * Amounts and prizes are immutable functions of their arguments, the seed
 * included: calling one again with the seed is the verification.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "base/check.h"
#include "scenario/generate.h"
#include "scenario/stream.h"

PG_FUNCTION_INFO_V1(seckill_divide_amount);
PG_FUNCTION_INFO_V1(seckill_deal_prizes);
PG_FUNCTION_INFO_V1(seckill_make_codes);

/* Codes of patterns with fewer random bits can be guessed. */
#define MIN_CODE_BITS	50


/* Start the stream of a generator from an argument, which must be a seed. */
static void
init_stream(FunctionCallInfo fcinfo, int i, const char *kind,
			RandomStream *stream)
{
	bytea	   *seed;

	seckill_check_argument(PG_ARGISNULL(i), "seed");
	seed = PG_GETARG_BYTEA_PP(i);
	if (VARSIZE_ANY_EXHDR(seed) < MIN_SEED_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("seed must have at least %d bytes", MIN_SEED_BYTES),
				 errhint("Take random bytes that nobody can guess, such as uuid_send(gen_random_uuid()).")));
	seckill_stream_init(stream, seed, kind);
}

/* Raise an error unless value is between low and high. */
static void
check_range(int64 value, int64 low, int64 high, const char *name)
{
	if (value < low || value > high)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between " INT64_FORMAT " and " INT64_FORMAT,
						name, low, high)));
}

/* Raise an error unless shares of min to max can add up to total. */
static void
check_bounds(int64 total, int shares, int64 min, int64 max)
{
	if (min > total / shares)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("total is too small for the shares"),
				 errdetail("%d shares of " INT64_FORMAT " at least are more than " INT64_FORMAT ".",
						   shares, min, total)));
	if (max < min || max < total / shares + (total % shares > 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("total is too large for the shares"),
				 errdetail("%d shares of " INT64_FORMAT " at most are less than " INT64_FORMAT ".",
						   shares, max, total)));
}

/*
 * seckill_divide_amount(total, shares, min_share, max_share, even, seed)
 *		returns bigint[]
 *
 * Amounts are in the smallest coin.  Errors: 22004 a NULL that is no default,
 * 22023 out of range or bounds that cannot be kept.
 */
Datum
seckill_divide_amount(PG_FUNCTION_ARGS)
{
	int64		total;
	int32		shares;
	int64		min;
	int64		max;
	int64	   *amounts;
	Datum	   *values;
	RandomStream stream;

	seckill_check_argument(PG_ARGISNULL(0), "total");
	seckill_check_argument(PG_ARGISNULL(1), "shares");
	seckill_check_argument(PG_ARGISNULL(2), "min_share");
	seckill_check_argument(PG_ARGISNULL(4), "even");
	total = PG_GETARG_INT64(0);
	shares = PG_GETARG_INT32(1);
	min = PG_GETARG_INT64(2);
	check_range(total, 0, MAX_AMOUNT, "total");
	check_range(shares, 1, MAX_SHARES, "shares");
	check_range(min, 0, MAX_AMOUNT, "min_share");
	max = PG_ARGISNULL(3) ? Max(total - (shares - 1) * min, min) :
		PG_GETARG_INT64(3);
	check_range(max, 0, MAX_AMOUNT, "max_share");
	check_bounds(total, shares, min, max);

	amounts = palloc(shares * sizeof(int64));
	if (PG_GETARG_BOOL(4))
		seckill_divide_evenly(total, shares, amounts);
	else
	{
		init_stream(fcinfo, 5, "seckill_divide_amount", &stream);
		seckill_divide_by_chance(total, shares, min, max, &stream, amounts);
	}
	values = palloc(shares * sizeof(Datum));
	for (int i = 0; i < shares; i++)
		values[i] = Int64GetDatum(amounts[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(values, shares, INT8OID,
										  sizeof(int64), FLOAT8PASSBYVAL,
										  TYPALIGN_DOUBLE));
}

/* The quantities of the prizes, which must add up to draws at most. */
static int
read_quantities(ArrayType *array, int32 draws, int32 **quantities)
{
	Datum	   *values;
	bool	   *nulls;
	int64		sum = 0;
	int			n;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("quantities must have one dimension")));
	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT,
					  &values, &nulls, &n);
	*quantities = palloc(Max(n, 1) * sizeof(int32));
	for (int i = 0; i < n; i++)
	{
		seckill_check_argument(nulls[i], "an element of quantities");
		(*quantities)[i] = DatumGetInt32(values[i]);
		check_range((*quantities)[i], 0, MAX_DRAWS,
					"each element of quantities");
		sum += (*quantities)[i];
	}
	if (sum > draws)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there are more prizes than draws"),
				 errdetail(INT64_FORMAT " prizes, %d draws.", sum, draws)));
	return n;
}

/*
 * seckill_deal_prizes(draws, quantities, spread, seed) returns integer[]
 *
 * Element i is the prize of place i, counted from 1 as in quantities, or NULL
 * for a blank.  Errors: as seckill_divide_amount().
 */
Datum
seckill_deal_prizes(PG_FUNCTION_ARGS)
{
	int32		draws;
	int32	   *quantities;
	int32	   *prizes;
	Datum	   *values;
	bool	   *nulls;
	RandomStream stream;
	int			n;
	int			lower = 1;

	seckill_check_argument(PG_ARGISNULL(0), "draws");
	seckill_check_argument(PG_ARGISNULL(1), "quantities");
	seckill_check_argument(PG_ARGISNULL(2), "spread");
	draws = PG_GETARG_INT32(0);
	check_range(draws, 1, MAX_DRAWS, "draws");
	n = read_quantities(PG_GETARG_ARRAYTYPE_P(1), draws, &quantities);
	init_stream(fcinfo, 3, "seckill_deal_prizes", &stream);

	prizes = palloc(draws * sizeof(int32));
	seckill_deal(draws, quantities, n, PG_GETARG_BOOL(2), &stream, prizes);
	values = palloc(draws * sizeof(Datum));
	nulls = palloc(draws * sizeof(bool));
	for (int i = 0; i < draws; i++)
	{
		values[i] = Int32GetDatum(prizes[i]);
		nulls[i] = prizes[i] == NO_PRIZE;
	}
	PG_RETURN_ARRAYTYPE_P(construct_md_array(values, nulls, 1, &draws, &lower,
											 INT4OID, sizeof(int32), true,
											 TYPALIGN_INT));
}

/* Refuse a pattern whose codes are too long, too few, or can be guessed. */
static void
check_pattern(const char *pattern)
{
	double		bits = seckill_code_stars(pattern) * log2(31);

	if (strlen(pattern) > MAX_CODE_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("pattern must have at most %d bytes", MAX_CODE_LENGTH)));
	if (bits < MIN_CODE_BITS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("codes of this pattern can be guessed"),
				 errdetail("They have %.0f bits of chance, %d are needed.",
						   floor(bits), MIN_CODE_BITS),
				 errhint("Each * of the pattern is a random character: use 11 or more.")));
}

/*
 * seckill_make_codes(n, pattern) returns text[]
 *
 * n different codes, with a random character for each * of the pattern.
 * Errors: as seckill_divide_amount().
 */
Datum
seckill_make_codes(PG_FUNCTION_ARGS)
{
	HASHCTL		info;
	char		code[MAX_CODE_LENGTH + 1];
	char	   *pattern;
	HTAB	   *made;
	Datum	   *values;
	int32		n;
	int			count = 0;

	seckill_check_argument(PG_ARGISNULL(0), "n");
	seckill_check_argument(PG_ARGISNULL(1), "pattern");
	n = PG_GETARG_INT32(0);
	check_range(n, 1, MAX_CODES, "n");
	pattern = text_to_cstring(PG_GETARG_TEXT_PP(1));
	check_pattern(pattern);

	info.keysize = info.entrysize = strlen(pattern) + 1;
	info.hcxt = CurrentMemoryContext;
	made = hash_create("seckill codes", n, &info,
					   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	values = palloc(n * sizeof(Datum));
	while (count < n)
	{
		bool		found;

		CHECK_FOR_INTERRUPTS();
		seckill_code_make(pattern, code);
		(void) hash_search(made, code, HASH_ENTER, &found);
		if (!found)
			values[count++] = CStringGetTextDatum(code);
	}
	hash_destroy(made);
	PG_RETURN_ARRAYTYPE_P(construct_array(values, n, TEXTOID, -1, false,
										  TYPALIGN_INT));
}
