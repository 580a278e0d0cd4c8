/*
 * item_search.c
 *		Statements on seckill.items that look for items: with leases, with
 *		numbers, elsewhere, about to open.
 *
 * All functions but the last run between seckill_table_begin() and
 * seckill_table_end().
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/columns.h"
#include "table/item_search.h"
#include "table/plan.h"
#include "table/relation.h"

static SqlPlan any_lease_plan = {
	.sql = "SELECT 1 FROM seckill.items WHERE leased" GT "0 LIMIT 1"
};

/* Does any item have leased units? */
bool
seckill_items_any_lease(void)
{
	return seckill_plan_run_latest(&any_lease_plan, NULL, seckill_catalog()->owner) > 0;
}

static SqlPlan any_numbered_plan = {
	.sql = "SELECT 1 FROM seckill.items WHERE numbered LIMIT 1"
};

/* Do the units of any item have numbers? */
bool
seckill_items_any_numbered(void)
{
	return seckill_plan_run_latest(&any_numbered_plan, NULL,
								   seckill_catalog()->owner) > 0;
}

static SqlPlan any_item_plan = {
	.sql = "SELECT 1 FROM seckill.items LIMIT 1"
};

/* Is there any item? */
bool
seckill_items_any(void)
{
	return seckill_plan_run_latest(&any_item_plan, NULL, seckill_catalog()->owner) > 0;
}

static SqlPlan opening_plan = {
	.sql = "SELECT item_id FROM seckill.items"
	" WHERE starts_at" GT "$1 AND starts_at" LE "$2"
	" ORDER BY starts_at LIMIT $3",
	.nargs = 3,
	.types = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID}
};

/*
 * Find items whose sale opens after one time and not after another, the first
 * to open first, at most max.  Returns their number.
 */
int
seckill_items_opening(TimestampTz after, TimestampTz until, int64 *item_ids,
					  int max)
{
	Datum		args[] = {TimestampTzGetDatum(after), TimestampTzGetDatum(until),
	Int64GetDatum(max)};
	int			n = (int) seckill_plan_run_latest(&opening_plan, args,
												  seckill_catalog()->owner);

	for (int i = 0; i < n; i++)
		item_ids[i] = DatumGetInt64(seckill_plan_result_column(i, 1, 0));
	SPI_freetuptable(SPI_tuptable);
	return n;
}

static SqlPlan next_opening_plan = {
	.sql = "SELECT starts_at FROM seckill.items WHERE starts_at" GT "$1"
	" ORDER BY starts_at LIMIT 1",
	.nargs = 1,
	.types = {TIMESTAMPTZOID}
};

/* Return when the first sale after a time opens; DT_NOEND if none does. */
TimestampTz
seckill_items_next_opening(TimestampTz after)
{
	Datum		args[] = {TimestampTzGetDatum(after)};

	return seckill_plan_first_time(&next_opening_plan, args, seckill_catalog()->owner);
}

static SqlPlan elsewhere_plan = {
	.sql = "SELECT item_id FROM seckill.items WHERE place IS NOT NULL LIMIT $1",
	.nargs = 1,
	.types = {INT8OID}
};

/* Find items that are not sold here, at most max.  Returns their number. */
int
seckill_items_elsewhere(int64 *item_ids, int max)
{
	Datum		args[] = {Int64GetDatum(max)};
	int			n = (int) seckill_plan_run_latest(&elsewhere_plan, args,
												  seckill_catalog()->owner);

	for (int i = 0; i < n; i++)
		item_ids[i] = DatumGetInt64(seckill_plan_result_column(i, 1, 0));
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/*
 * Is any item of a table split over nodes?  This is for DROP, when other
 * tables of the extension may be gone already, so it looks up nothing.
 */
bool
seckill_items_any_split(Oid items)
{
	Relation	table = seckill_relation_open_dropped(items);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(table, NULL);
	TableScanDesc scan = table_beginscan(table, snapshot, 0, NULL);
	bool		found = false;

	while (!found && RelationGetNumberOfAttributes(table) >= ITEM_SPLIT_OVER &&
		   table_scan_getnextslot(scan, ForwardScanDirection, slot))
		found = !slot_attisnull(slot, ITEM_SPLIT_OVER);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	return found;
}
