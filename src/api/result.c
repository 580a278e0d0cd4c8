/*
 * result.c
 *		Result rows.
 *
 * Row types are cached per backend, so that a purchase does not look its row
 * type up in the catalog.  A cached row type belongs to one function and one
 * incarnation of the extension, which the OID of seckill.items identifies.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/memutils.h"

#include "api/result.h"
#include "base/catalog.h"
#include "seckill.h"

/*
 * Cached row types: one for each function that returns a row, and a spare one.
 */
#define RESULTS		12

typedef struct ResultType
{
	Oid			function;
	Oid			items;			/* OID of seckill.items */
	TupleDesc	desc;

	/* rows to copy, or NULL; see copy_row() */
	HeapTupleHeader refusal;	/* all but the outcome is NULL */
	HeapTupleHeader answer;		/* outcome and number */
} ResultType;

static ResultType results[RESULTS];
static int	next_result = 0;

/* Free what is cached of a row type, so that nothing is. */
static void
forget(ResultType *type)
{
	type->function = InvalidOid;
	if (type->desc != NULL)
		FreeTupleDesc(type->desc);
	if (type->refusal != NULL)
		pfree(type->refusal);
	if (type->answer != NULL)
		pfree(type->answer);
	type->desc = NULL;
	type->refusal = type->answer = NULL;
}

/* Returns the row type of the called function; its desc is blessed. */
static ResultType *
result_type(FunctionCallInfo fcinfo)
{
	ResultType *type;
	TupleDesc	desc;
	MemoryContext old;
	Oid			items = seckill_catalog()->items;

	for (int i = 0; i < RESULTS; i++)
		if (results[i].function == fcinfo->flinfo->fn_oid &&
			results[i].items == items)
			return &results[i];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "function must return a row");
	type = &results[next_result];
	next_result = (next_result + 1) % RESULTS;
	forget(type);
	old = MemoryContextSwitchTo(TopMemoryContext);
	type->desc = BlessTupleDesc(CreateTupleDescCopy(desc));
	MemoryContextSwitchTo(old);
	type->function = fcinfo->flinfo->fn_oid;
	type->items = items;
	return type;
}

/* Make the result row of the called function. */
Datum
seckill_result_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	return HeapTupleGetDatum(heap_form_tuple(result_type(fcinfo)->desc,
											 values, nulls));
}


/*
 * Frequent rows
 */

/* Form a row of which the first ncolumns columns are not NULL, to be copied. */
static HeapTupleHeader
form_row(const ResultType *type, int ncolumns)
{
	int			n = type->desc->natts;
	Datum	   *values = palloc0(n * sizeof(Datum));
	bool	   *nulls = palloc0(n * sizeof(bool));
	HeapTuple	tuple;
	MemoryContext old;
	Datum		row;

	for (int i = ncolumns; i < n; i++)
		nulls[i] = true;
	tuple = heap_form_tuple(type->desc, values, nulls);
	old = MemoryContextSwitchTo(TopMemoryContext);
	row = heap_copy_tuple_as_datum(tuple, type->desc);
	MemoryContextSwitchTo(old);
	return (HeapTupleHeader) DatumGetPointer(row);
}

/*
 * Copy a row that was formed once, and set its outcome, with which its data
 * begins.  That takes a fraction of the time that it takes to form a row.
 */
static HeapTupleHeader
copy_row(HeapTupleHeader formed, SeckillOutcome outcome)
{
	Size		size = HeapTupleHeaderGetDatumLength(formed);
	HeapTupleHeader row = palloc(size);

	memcpy(row, formed, size);
	*(Oid *) ((char *) row + row->t_hoff) = seckill_catalog()->outcome[outcome];
	return row;
}

/*
 * Make the result row of the called function that says no more than an
 * outcome, its first column.
 */
Datum
seckill_result_refusal(FunctionCallInfo fcinfo, SeckillOutcome outcome)
{
	ResultType *type = result_type(fcinfo);

	if (type->refusal == NULL)
		type->refusal = form_row(type, 1);
	return PointerGetDatum(copy_row(type->refusal, outcome));
}

/*
 * Make the result row (outcome, number); number is NULL if has_number is
 * false, else the end of the row's data.
 */
Datum
seckill_result_outcome(FunctionCallInfo fcinfo, SeckillOutcome outcome,
					   bool has_number, int64 number)
{
	ResultType *type;
	HeapTupleHeader row;

	if (!has_number)
		return seckill_result_refusal(fcinfo, outcome);
	type = result_type(fcinfo);
	if (type->answer == NULL)
		type->answer = form_row(type, 2);
	Assert(type->desc->natts == 2);
	row = copy_row(type->answer, outcome);
	memcpy((char *) row + HeapTupleHeaderGetDatumLength(row) - sizeof(number),
		   &number, sizeof(number));
	return PointerGetDatum(row);
}
