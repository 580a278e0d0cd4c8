/*
 * shares.c
 *		Exchanges of units between nodes, and which numbers other nodes have; of
 *		the extension seckill_cluster.
 *
 * As with moves (open_moves.c), the steps are functions of that extension.  They
 * run as the user of the worker's session: the owner of the tables may not be
 * allowed to call them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"

#include "base/catalog.h"
#include "table/orders.h"
#include "table/plan.h"
#include "table/shares.h"

/*
 * Exchange units of an item with other nodes, of which buyers want some, one
 * of them as few as smallest.  May connect to other nodes.  Returns how many
 * units there are on all nodes, or -1 if that is not known.
 */
int32
seckill_shares_exchange(int64 item_id, int64 wanted, int32 smallest)
{
	Oid			types[] = {INT8OID, INT4OID, INT4OID};
	Datum		args[] = {Int64GetDatum(item_id),
		Int32GetDatum((int32) Min(wanted, PG_INT32_MAX)),
	Int32GetDatum(smallest)};
	int32		reach;
	TableCaller caller;

	seckill_table_switch_user(GetSessionUserId(), &caller);
	if (SPI_execute_with_args("SELECT seckill.share_work($1, $2, $3)", 3, types,
							  args, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "units could not be exchanged");
	reach = DatumGetInt32(seckill_plan_result_column(0, 1, Int32GetDatum(-1)));
	SPI_freetuptable(SPI_tuptable);
	seckill_table_restore_user(&caller);
	return reach;
}


/*
 * Numbers
 *
 * Of an item whose units have numbers, seckill.channels has at home the numbers
 * of each other node, and there those of this node.
 */

/* $2 is the home of a share, 0 at home, and $3 how many numbers home has. */
static SqlPlan numbers_plan = {
	.sql = "SELECT CASE WHEN $2" EQ "0 THEN pg_catalog.int8multirange("
	"pg_catalog.int8range(1, 1" PLUS "$3" PLUS "coalesce(s.n, 0)))"
	MINUS "coalesce(s.numbers, '{}') ELSE coalesce(s.numbers, '{}') END"
	" FROM (SELECT pg_catalog.range_agg(r) AS numbers, pg_catalog.sum("
	"pg_catalog.upper(r)" MINUS "pg_catalog.lower(r))::pg_catalog.int8 AS n"
	" FROM seckill.channels c, pg_catalog.unnest(c.numbers) r"
	" WHERE c.item_id" EQ "$1 AND ($2" EQ "0 OR c.peer" EQ "$2)) s",
	.nargs = 3,
	.types = {INT8OID, INT4OID, INT8OID}
};

/*
 * The numbers of a split item that this node has, an int8multirange in the
 * caller's memory; n is how many there are, if it is the home.  latest: as of
 * now, otherwise as of the snapshot of the statement that runs.
 */
Datum
seckill_shares_numbers(int64 item_id, const SplitNodes *split, int64 n,
					   bool latest)
{
	int			home = split->node[0];
	Datum		args[] = {Int64GetDatum(item_id),
		Int32GetDatum(home == seckill_catalog()->node ? 0 : home),
	Int64GetDatum(n)};
	Oid			owner = seckill_catalog_cluster_owner("channels");
	Datum		numbers;
	bool		isnull;

	if (latest)
		(void) seckill_plan_run_latest(&numbers_plan, args, owner);
	else
		(void) seckill_plan_run_as_of_statement(&numbers_plan, args, owner);
	seckill_plan_copy_columns(&numbers, &isnull);
	return numbers;
}

static SqlPlan elsewhere_plan = {
	.sql = "SELECT coalesce(pg_catalog.range_agg(r), '{}')"
	" FROM seckill.channels c, pg_catalog.unnest(c.numbers) r"
	" WHERE c.item_id" EQ "$1",
	.nargs = 1,
	.types = {INT8OID}
};

/* At home: the numbers of an item that other nodes have. */
NumberSet *
seckill_shares_elsewhere(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};
	Datum		numbers;
	bool		isnull;

	(void) seckill_plan_run_latest(&elsewhere_plan, args,
								   seckill_catalog_cluster_owner("channels"));
	seckill_plan_copy_columns(&numbers, &isnull);
	return seckill_numbers_read(numbers);
}


/*
 * After a restore
 */

static SqlPlan end_orders_plan = {
	.sql = "UPDATE seckill.orders SET unit = NULL, limited = false,"
	" state = CASE WHEN state" EQ "'pending' THEN 'expired'"
	" WHEN state" EQ "'confirmed' THEN 'cancelled' ELSE state END"
	" WHERE item_id" EQ "$1 AND unit IS NOT NULL"
	" AND NOT $2" CONTAINS "unit::pg_catalog.int8",
	.nargs = 2,
	.types = {INT8OID, INT8MULTIRANGEOID}
};

/* End the orders of an item with other numbers than these; returns how many. */
int
seckill_shares_end_orders(int64 item_id, const NumberSet *own)
{
	Datum		args[] = {Int64GetDatum(item_id), seckill_numbers_datum(own)};

	return (int) seckill_orders_run(&end_orders_plan, args);
}

static SqlPlan end_releases_plan = {
	.sql = "WITH done AS ("
	"UPDATE seckill.releases SET done_at = pg_catalog.clock_timestamp()"
	" WHERE item_id" EQ "$1 AND done_at IS NULL AND first_unit IS NOT NULL"
	" AND NOT $2" CONTAINS "pg_catalog.int8range(first_unit, first_unit"
	PLUS "units) RETURNING first_unit, units)"
	" SELECT coalesce(pg_catalog.range_agg(pg_catalog.int8range("
	"first_unit, first_unit" PLUS "units)), '{}') FROM done",
	.nargs = 2,
	.types = {INT8OID, INT8MULTIRANGEOID}
};

/*
 * Mark the planned releases of an item done that have other numbers than these;
 * returns their numbers.
 */
NumberSet *
seckill_shares_end_releases(int64 item_id, const NumberSet *own)
{
	Datum		args[] = {Int64GetDatum(item_id), seckill_numbers_datum(own)};
	Datum		numbers;
	bool		isnull;

	(void) seckill_plan_run_as(&end_releases_plan, args,
							   seckill_catalog()->releases_owner);
	seckill_plan_copy_columns(&numbers, &isnull);
	return seckill_numbers_read(numbers);
}

static SqlPlan forget_plan = {
	.sql = "DELETE FROM seckill.units u USING pg_catalog.unnest($2) r"
	" WHERE u.item_id" EQ "$1 AND u.unit" GE "pg_catalog.lower(r)"
	" AND u.unit" LT "pg_catalog.upper(r)",
	.nargs = 2,
	.types = {INT8OID, INT8MULTIRANGEOID}
};

/* Delete the values of numbers that this node does not have any more. */
void
seckill_shares_forget(int64 item_id, const NumberSet *numbers)
{
	Datum		args[] = {Int64GetDatum(item_id), seckill_numbers_datum(numbers)};

	(void) seckill_plan_run_as(&forget_plan, args, seckill_catalog()->units_owner);
}
