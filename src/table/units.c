/*
 * units.c
 *		Statements on seckill.units, the values of units with numbers.
 *
 * All functions run between seckill_table_begin() and seckill_table_end().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "base/catalog.h"
#include "table/plan.h"
#include "table/units.h"

static SqlPlan delete_plan = {
	.sql = "DELETE FROM seckill.units WHERE item_id" EQ "$1",
	.nargs = 1,
	.types = {INT8OID}
};

/* Delete the units of an item that is being deleted. */
void
seckill_units_delete(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	(void) seckill_plan_run(&delete_plan, args);
}

static SqlPlan any_unit_plan = {
	.sql = "SELECT 1 FROM seckill.units LIMIT 1"
};

/* Does any item have a unit with a value? */
bool
seckill_units_any(void)
{
	return seckill_plan_run_latest(&any_unit_plan, NULL,
								   seckill_catalog()->owner) > 0;
}
