/*
 * routes.c
 *		Where Citus sends the calls on an item, of the extension seckill_cluster.
 *
 * A call that Citus does not delegate runs where it was made.  The item may be
 * on another node then, and must not be called unknown.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/lsyscache.h"

#include "table/plan.h"
#include "table/routes.h"

/* Are calls on items routed by Citus? */
static bool
has_routes(void)
{
	Oid			schema = get_namespace_oid("seckill", true);

	return OidIsValid(schema) &&
		OidIsValid(get_relname_relid("routes", schema)) &&
		OidIsValid(get_relname_relid("moves", schema));
}

static SqlPlan check_route = {
	.sql = "SELECT seckill.check_route_of($1)",
	.nargs = 1,.types = {INT8OID}
};

/* An item is not here.  Raise an error if Citus sends its calls elsewhere. */
void
seckill_routes_check(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};
	TableCaller caller;

	if (!has_routes())
		return;
	seckill_table_begin(&caller);
	(void) seckill_plan_run(&check_route, args);
	SPI_freetuptable(SPI_tuptable);
	seckill_table_end(&caller);
}
