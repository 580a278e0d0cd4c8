/*
 * values_sql.c
 *		SQL calls that put units with values on sale, close the sale and reveal
 *		what its commitments were made for.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "api/result.h"
#include "base/check.h"
#include "scenario/generate.h"
#include "scenario/values.h"
#include "table/plan.h"

PG_FUNCTION_INFO_V1(seckill_add_units);
PG_FUNCTION_INFO_V1(seckill_close);
PG_FUNCTION_INFO_V1(seckill_reveal);

/* Arguments of seckill_add_units(). */
#define ARG_CODES	1
#define ARG_PRIZES	2
#define ARG_AMOUNTS 3
#define ARG_SEED	4
#define ARG_RELEASE_AT	5

/* Raise: an element of a list is out of range. */
static void
bad_element(const char *name, int i, const char *rule)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("element %d of %s %s", i + 1, name, rule)));
}

/* Set the code of value i.  The code is in no message: it is a secret. */
static void
read_code(UnitValue *value, Datum element, int i)
{
	int			length;

	value->code = DatumGetTextPP(element);
	length = pg_mbstrlen_with_len(VARDATA_ANY(value->code),
								  VARSIZE_ANY_EXHDR(value->code));
	if (length < 1 || length > MAX_CODE_LENGTH)
		bad_element("codes", i, "must have 1 to 200 characters");
}

static void
read_prize(UnitValue *value, Datum element, int i)
{
	value->has_prize = true;
	value->prize = DatumGetInt32(element);
	if (value->prize < 1)
		bad_element("prizes", i, "must be at least 1");
}

static void
read_amount(UnitValue *value, Datum element, int i)
{
	value->has_amount = true;
	value->amount = DatumGetInt64(element);
	if (value->amount < 0 || value->amount > MAX_AMOUNT)
		bad_element("amounts", i, "must be between 0 and 10^15");
}

/* An array of the call: its argument, its name and how an element is read. */
typedef struct ValueArray
{
	int			arg;
	const char *name;
	Oid			type;
	int			length;
	bool		by_value;
	char		align;
	void		(*read) (UnitValue *value, Datum element, int i);
} ValueArray;

static const ValueArray arrays[] = {
	{ARG_CODES, "codes", TEXTOID, -1, false, TYPALIGN_INT, read_code},
	{ARG_PRIZES, "prizes", INT4OID, sizeof(int32), true, TYPALIGN_INT,
	read_prize},
	{ARG_AMOUNTS, "amounts", INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
	TYPALIGN_DOUBLE, read_amount}
};

/*
 * Read an array of the call into the values, which are made for the first one;
 * raises an error unless it has one dimension and as many elements as those
 * before it.
 */
static void
read_array(const ValueArray *array, ArrayType *argument, UnitValue **values,
		   int *n)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	if (ARR_NDIM(argument) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must have one dimension", array->name)));
	deconstruct_array(argument, array->type, array->length, array->by_value,
					  array->align, &elements, &nulls, &count);
	if (*values == NULL)
	{
		*values = palloc_extended(Max(count, 1) * sizeof(UnitValue),
								  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		*n = count;
	}
	if (count != *n)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("codes, prizes and amounts must have the same number of elements"),
				 errdetail("%s has %d, one before it %d.", array->name, count, *n)));
	for (int i = 0; i < count; i++)
		if (!nulls[i])
			array->read(&(*values)[i], elements[i], i);
}

/* Read the arrays of the call; returns the number of their elements. */
static int
read_values(FunctionCallInfo fcinfo, UnitValue **values)
{
	int			n = 0;

	*values = NULL;
	for (int i = 0; i < (int) lengthof(arrays); i++)
		if (!PG_ARGISNULL(arrays[i].arg))
			read_array(&arrays[i], PG_GETARG_ARRAYTYPE_P(arrays[i].arg),
					   values, &n);
	if (*values == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("codes, prizes and amounts must not all be null"),
				 errhint("Units without a value are added with seckill_restock().")));
	return n;
}

/* Refuse a unit without a code in a call for codes only. */
static void
check_codes(FunctionCallInfo fcinfo, const UnitValue *values, int n)
{
	if (PG_ARGISNULL(ARG_CODES) || !PG_ARGISNULL(ARG_PRIZES) ||
		!PG_ARGISNULL(ARG_AMOUNTS))
		return;
	for (int i = 0; i < n; i++)
		seckill_check_argument(values[i].code == NULL, "an element of codes");
}

/*
 * The seed of the call, detoasted, or NULL.  Codes are never revealed, so
 * there is no commitment to them.
 */
static const bytea *
read_seed(FunctionCallInfo fcinfo)
{
	const bytea *seed;

	if (PG_ARGISNULL(ARG_SEED))
		return NULL;
	if (!PG_ARGISNULL(ARG_CODES))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("units with codes have no seed"),
				 errdetail("Seeds are revealed after the sale, and codes never.")));
	seed = PG_GETARG_BYTEA_PP(ARG_SEED);
	if (VARSIZE_ANY_EXHDR(seed) < MIN_SEED_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("seed must have at least %d bytes", MIN_SEED_BYTES),
				 errhint("Take random bytes that nobody can guess, such as uuid_send(gen_random_uuid()).")));
	return seed;
}

/* Make an array of the codes that were left out, in their order. */
static Datum
make_duplicates(const UnitValue *values, const bool *skipped, int n)
{
	Datum	   *codes = palloc_extended(Max(n, 1) * sizeof(Datum),
										MCXT_ALLOC_HUGE);
	int			count = 0;

	for (int i = 0; i < n; i++)
		if (skipped[i])
			codes[count++] = PointerGetDatum(values[i].code);
	return PointerGetDatum(construct_array(codes, count, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/*
 * seckill_add_units(item_id bigint, codes text[], prizes integer[],
 *					 amounts bigint[], seed bytea, release_at timestamptz)
 *		returns (first_unit integer, added integer, duplicates text[])
 *
 * Puts units with these values on sale, one for each element of the arrays.
 * Codes that the item has, or that are twice in the array, are left out.  With
 * release_at the units are put on sale at that time.  Waits for the locks of
 * the item.
 *
 * Errors: item_id or all arrays are NULL, arrays of different lengths or
 * several dimensions, an element out of range, a seed that is too short or
 * comes with codes, an unknown item or one without numbers, too many units,
 * prizes that a commitment would cover and that are not described.
 */
Datum
seckill_add_units(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	UnitValue  *values;
	const bytea *seed;
	TimestampTz release_at = PG_ARGISNULL(ARG_RELEASE_AT) ? DT_NOBEGIN :
		PG_GETARG_TIMESTAMPTZ(ARG_RELEASE_AT);
	bool	   *skipped;
	Datum		results[3];
	bool		nulls[3] = {0};
	int32		first;
	int			added;
	int			n;

	seckill_check_writable("seckill_add_units()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	n = read_values(fcinfo, &values);
	check_codes(fcinfo, values, n);
	seed = read_seed(fcinfo);
	skipped = palloc_extended(Max(n, 1), MCXT_ALLOC_HUGE);
	seckill_table_begin(&caller);
	added = seckill_values_add(PG_GETARG_INT64(0), values, n, seed, release_at,
							   skipped, &first);
	seckill_table_end(&caller);
	results[0] = Int32GetDatum(first);
	nulls[0] = added == 0;
	results[1] = Int32GetDatum(added);
	results[2] = make_duplicates(values, skipped, n);
	return seckill_result_row(fcinfo, results, nulls);
}

/*
 * seckill_close(item_id bigint) returns (units integer, amount bigint)
 *
 * Ends the sale and takes what is left off sale; returns how many units, and
 * the sum of their amounts.  Waits for the locks of the item and for all
 * transactions that hold units.
 *
 * Errors: item_id is NULL, an unknown item or one without numbers.
 */
Datum
seckill_close(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	Datum		values[2];
	bool		nulls[2] = {0};
	int64		units;
	int64		amount;

	seckill_check_writable("seckill_close()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_table_begin(&caller);
	units = seckill_values_close(PG_GETARG_INT64(0), &amount);
	seckill_table_end(&caller);
	values[0] = Int32GetDatum((int32) units);
	values[1] = Int64GetDatum(amount);
	return seckill_result_row(fcinfo, values, nulls);
}

/*
 * seckill_reveal(item_id bigint)
 *		returns setof (first_unit integer, last_unit integer,
 *					   commitment bytea, seed bytea, unchanged boolean)
 *
 * Reveals the seeds of the item's commitments, and tells whether each still
 * holds.  Waits for the locks of the item.
 *
 * Errors: item_id is NULL, an unknown item or one without numbers, a sale that
 * is not over.
 */
Datum
seckill_reveal(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext context = CurrentMemoryContext;
	TableCaller caller;
	Commitment *commitments;
	bool	   *unchanged;
	int			n;

	seckill_check_writable("seckill_reveal()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	InitMaterializedSRF(fcinfo, 0);
	seckill_table_begin(&caller);
	n = seckill_values_reveal(PG_GETARG_INT64(0), &commitments, &unchanged);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Datum		values[5];
		bool		nulls[5] = {0};

		values[0] = Int32GetDatum(commitments[i].first_unit);
		values[1] = Int32GetDatum(commitments[i].last_unit);
		values[2] = PointerGetDatum(commitments[i].commitment);
		values[3] = PointerGetDatum(commitments[i].seed);
		values[4] = BoolGetDatum(unchanged[i]);
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
		MemoryContextSwitchTo(old);
	}
	seckill_table_end(&caller);
	return (Datum) 0;
}
