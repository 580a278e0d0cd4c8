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

static struct
{
	Oid			function;
	Oid			items;			/* OID of seckill.items */
	TupleDesc	desc;
}			results[RESULTS];
static int	next_result = 0;

/*
 * Returns the blessed row type of the called function, from the cache if it is
 * there.
 */
static TupleDesc
result_desc(FunctionCallInfo fcinfo)
{
	TupleDesc	desc;
	MemoryContext old;
	Oid			items = seckill_catalog()->items;
	int			i;

	for (i = 0; i < RESULTS; i++)
		if (results[i].function == fcinfo->flinfo->fn_oid &&
			results[i].items == items)
			return results[i].desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "function must return a row");
	i = next_result;
	next_result = (next_result + 1) % RESULTS;
	results[i].function = InvalidOid;
	old = MemoryContextSwitchTo(TopMemoryContext);
	if (results[i].desc != NULL)
		FreeTupleDesc(results[i].desc);
	results[i].desc = NULL;		/* the copy may fail */
	results[i].desc = BlessTupleDesc(CreateTupleDescCopy(desc));
	MemoryContextSwitchTo(old);
	results[i].function = fcinfo->flinfo->fn_oid;
	results[i].items = items;
	return results[i].desc;
}

/* Make the result row of the called function. */
Datum
seckill_result_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	return HeapTupleGetDatum(heap_form_tuple(result_desc(fcinfo), values,
											 nulls));
}

/*
 * Make the result row (outcome, number); number is NULL if has_number is
 * false.
 */
Datum
seckill_result_outcome(FunctionCallInfo fcinfo, SeckillOutcome outcome,
					   bool has_number, int64 number)
{
	Datum		values[2];
	bool		nulls[2] = {false, !has_number};

	values[0] = ObjectIdGetDatum(seckill_catalog()->outcome[outcome]);
	values[1] = Int64GetDatum(number);
	return seckill_result_row(fcinfo, values, nulls);
}
