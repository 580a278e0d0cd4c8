/*
 * due.c
 *		Rows that are due at a time: pending orders, scheduled releases.
 *
 * What the statements on both have in common; they are in orders.c and
 * releases.c.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "table/due.h"

/*
 * Run a SELECT of item and number of the rows that are due at a time, the
 * oldest first, at most max.  It leaves out the rows of the items in except,
 * and the first skip of the others; these are its arguments in this order.
 * Returns the number of rows.
 */
int
seckill_due_read(SqlPlan *plan, Oid owner, TimestampTz now, const int64 *except,
				 int nexcept, int skip, DueKey *rows, int max)
{
	Datum	   *ids = palloc(nexcept * sizeof(Datum));
	Datum		args[4];
	int			n;

	for (int i = 0; i < nexcept; i++)
		ids[i] = Int64GetDatum(except[i]);
	args[0] = TimestampTzGetDatum(now);
	args[1] = seckill_plan_int8_array(ids, nexcept);
	args[2] = Int64GetDatum(skip);
	args[3] = Int64GetDatum(max);
	n = (int) seckill_plan_run_latest(plan, args, owner);
	for (int i = 0; i < n; i++)
	{
		rows[i].item_id = DatumGetInt64(seckill_plan_result_column(i, 1, 0));
		rows[i].number = DatumGetInt64(seckill_plan_result_column(i, 2, 0));
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/* The numbers of rows, as an array argument. */
Datum
seckill_due_numbers(const DueKey *rows, int n)
{
	Datum	   *numbers = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		numbers[i] = Int64GetDatum(rows[i].number);
	return seckill_plan_int8_array(numbers, n);
}
