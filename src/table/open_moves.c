/*
 * open_moves.c
 *		Moves of items between nodes, of the extension seckill_cluster, and nodes
 *		that open after a promotion.
 *
 * The steps of a move are functions of that extension, as they are statements
 * on two servers.  This one is its part in the maintenance worker, and runs as
 * the user of its session: the owner of the tables may not be allowed to.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "base/check.h"
#include "base/settings.h"
#include "table/item_search.h"
#include "table/open_moves.h"
#include "table/plan.h"

/* Is the extension there? */
static bool
has_moves(void)
{
	Oid			schema = get_namespace_oid("seckill", true);

	return OidIsValid(schema) &&
		OidIsValid(get_relname_relid("moves", schema));
}

/*
 * End the moves whose driver is gone.  May connect to other nodes.  Returns
 * how many have not ended.
 */
int
seckill_moves_tend(void)
{
	int64		item_id;
	int			open;
	TableCaller caller;

	if (seckill_items_elsewhere(&item_id, 1) == 0 || !has_moves())
		return 0;
	seckill_table_switch_user(GetSessionUserId(), &caller);
	if (SPI_execute("SELECT seckill.tend_moves()", false, 0) != SPI_OK_SELECT)
		elog(ERROR, "moves could not be looked at");
	open = DatumGetInt32(seckill_plan_result_column(0, 1, Int32GetDatum(0)));
	SPI_freetuptable(SPI_tuptable);
	seckill_table_restore_user(&caller);
	return open;
}

/*
 * A node that was promoted sells nothing before it has asked the others: open
 * it, if the operator has said that no commit is lost.  Returns whether it was
 * opened.
 */
bool
seckill_node_reopen(void)
{
	TableCaller caller;
	bool		opened;

	if (!seckill_lossless || seckill_node_is_open() || !has_moves())
		return false;
	seckill_table_switch_user(GetSessionUserId(), &caller);
	if (SPI_execute("SELECT seckill.reopen_lossless()", false, 0) != SPI_OK_SELECT)
		elog(ERROR, "the node could not be opened");
	opened = DatumGetBool(seckill_plan_result_column(0, 1, BoolGetDatum(false)));
	SPI_freetuptable(SPI_tuptable);
	seckill_table_restore_user(&caller);
	return opened;
}
