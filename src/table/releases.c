/*
 * releases.c
 *		Statements on seckill.releases: find those that are due, mark them done.
 *
 * All functions run between seckill_table_begin() and seckill_table_end(), as
 * the owner of seckill.releases.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "base/catalog.h"
#include "table/plan.h"
#include "table/releases.h"

/* Run a statement on releases of one item, its first argument. */
static uint64
run_on_releases(SqlPlan *plan, Datum *args)
{
	return seckill_plan_run_as(plan, args, seckill_catalog()->releases_owner);
}

static SqlPlan due_plan = {
	.sql = "SELECT item_id, release_id FROM seckill.releases"
	" WHERE done_at IS NULL AND release_at" LE "$1"
	" AND item_id" NE "ALL ($2)"
	" ORDER BY release_at OFFSET $3 LIMIT $4",
	.nargs = 4,
	.types = {TIMESTAMPTZOID, INT8ARRAYOID, INT8OID, INT8OID}
};

/* Find releases that are due; see seckill_due_read(). */
int
seckill_releases_due(TimestampTz now, const int64 *except, int nexcept,
					 int skip, DueKey *releases, int max)
{
	return seckill_due_read(&due_plan, seckill_catalog()->releases_owner, now,
							except, nexcept, skip, releases, max);
}

static SqlPlan next_plan = {
	.sql = "SELECT release_at FROM seckill.releases"
	" WHERE done_at IS NULL AND release_at" GT "$1"
	" ORDER BY release_at LIMIT 1",
	.nargs = 1,
	.types = {TIMESTAMPTZOID}
};

/* When the first release after a time is due; DT_NOEND: there is none. */
TimestampTz
seckill_releases_next(TimestampTz after)
{
	Datum		args[] = {TimestampTzGetDatum(after)};

	return seckill_plan_first_time(&next_plan, args,
								   seckill_catalog()->releases_owner);
}

static SqlPlan finish_plan = {
	.sql = "WITH due AS MATERIALIZED ("
	"SELECT ctid FROM seckill.releases"
	" WHERE item_id" EQ "$1 AND release_id" EQ "ANY ($2)"
	" AND done_at IS NULL AND release_at" LE "$3"
	" FOR NO KEY UPDATE SKIP LOCKED)"
	" UPDATE seckill.releases r SET done_at = pg_catalog.clock_timestamp()"
	" FROM due WHERE r.ctid" EQ "due.ctid"
	" RETURNING r.units, r.done_at, r.first_unit",
	.nargs = 3,
	.types = {INT8OID, INT8ARRAYOID, TIMESTAMPTZOID}
};

/* Add the units of release i of the result to the released ones. */
static void
add_released(uint64 i, ReleasedUnits *released)
{
	int32		units = DatumGetInt32(seckill_plan_result_column(i, 1, Int32GetDatum(0)));
	int32		first = DatumGetInt32(seckill_plan_result_column(i, 3, Int32GetDatum(0)));
	NumberSet  *numbers = seckill_numbers_make();

	if (first == 0)
	{
		released->units += units;
		return;
	}
	seckill_numbers_append(numbers, first, first + units - 1);
	seckill_numbers_merge(released->numbers, numbers);
}

/* Raise an error if two of these releases have the same number. */
static void
check_overlap(int64 item_id, const NumberSet *numbers)
{
	for (int i = 1; i < numbers->n; i++)
		if (numbers->ranges[i].first <= numbers->ranges[i - 1].last)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("unit %d of item " INT64_FORMAT " is to be released twice",
							numbers->ranges[i].first, item_id)));
}

/*
 * Of the given releases of an item, mark those done that are still due and
 * that no other transaction has locked.  Returns how many there are, and their
 * units.  Raises an error if a trigger has kept one undone, as its units would
 * be released again and again.
 */
int
seckill_releases_finish(int64 item_id, const DueKey *releases, int n,
						TimestampTz now, ReleasedUnits *released)
{
	Datum		args[] = {Int64GetDatum(item_id), seckill_due_numbers(releases, n),
	TimestampTzGetDatum(now)};
	int			done = (int) run_on_releases(&finish_plan, args);

	released->units = 0;
	released->numbers = seckill_numbers_make();
	for (int i = 0; i < done; i++)
	{
		if (DatumGetTimestampTz(seckill_plan_result_column(i, 2,
														   TimestampTzGetDatum(DT_NOEND))) == DT_NOEND)
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
					 errmsg("release of item " INT64_FORMAT " was not updated",
							item_id),
					 errhint("Look for a trigger on seckill.releases that changes done_at.")));
		add_released(i, released);
	}
	SPI_freetuptable(SPI_tuptable);
	check_overlap(item_id, released->numbers);
	return done;
}

static SqlPlan insert_plan = {
	.sql = "INSERT INTO seckill.releases (item_id, release_at, units, first_unit)"
	" VALUES ($1, $2, $3, $4)",
	.nargs = 4,
	.types = {INT8OID, TIMESTAMPTZOID, INT4OID, INT4OID}
};

/* Plan a release of units, numbered from first on, that are off sale. */
void
seckill_releases_insert(int64 item_id, TimestampTz release_at, int32 first,
						int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), TimestampTzGetDatum(release_at),
	Int32GetDatum(units), Int32GetDatum(first)};

	if (run_on_releases(&insert_plan, args) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("release of item " INT64_FORMAT " was not inserted",
						item_id),
				 errhint("Look for a trigger or rule on seckill.releases that skips rows.")));
}

static SqlPlan cancel_plan = {
	.sql = "WITH gone AS (DELETE FROM seckill.releases"
	" WHERE item_id" EQ "$1 AND done_at IS NULL RETURNING first_unit, units)"
	" SELECT coalesce(pg_catalog.range_agg(pg_catalog.int8range(first_unit,"
	" first_unit" PLUS "units::pg_catalog.int8))"
	" FILTER (WHERE first_unit IS NOT NULL), '{}')"
	" OPERATOR(pg_catalog.*) $2 FROM gone",
	.nargs = 2,
	.types = {INT8OID, INT8MULTIRANGEOID}
};

/*
 * Delete the releases of an item that are not done; returns those of the
 * numbers off sale that they were to put on sale.
 */
NumberSet *
seckill_releases_cancel(int64 item_id, const NumberSet *off_sale)
{
	Datum		args[] = {Int64GetDatum(item_id), seckill_numbers_datum(off_sale)};
	NumberSet  *numbers;

	(void) run_on_releases(&cancel_plan, args);
	numbers = seckill_numbers_read(seckill_plan_result_column(0, 1, 0));
	SPI_freetuptable(SPI_tuptable);
	return numbers;
}

static SqlPlan delete_plan = {
	.sql = "DELETE FROM seckill.releases WHERE item_id" EQ "$1",
	.nargs = 1,
	.types = {INT8OID}
};

/* Delete the releases of an item that is deleted. */
void
seckill_releases_delete(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	(void) run_on_releases(&delete_plan, args);
}

static SqlPlan planned_plan = {
	.sql = "SELECT 1 FROM seckill.releases"
	" WHERE item_id" EQ "$1 AND done_at IS NULL LIMIT 1",
	.nargs = 1,
	.types = {INT8OID}
};

/* Does the item have a release that is not done? */
bool
seckill_releases_planned(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	return seckill_plan_run_latest(&planned_plan, args,
								   seckill_catalog()->releases_owner) > 0;
}

static SqlPlan any_plan = {
	.sql = "SELECT 1 FROM seckill.releases LIMIT 1"
};

/* Is there any release? */
bool
seckill_releases_any(void)
{
	return seckill_plan_run_latest(&any_plan, NULL,
								   seckill_catalog()->releases_owner) > 0;
}
