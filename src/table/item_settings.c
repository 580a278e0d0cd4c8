/*
 * item_settings.c
 *		The settings of an item, written and read as a whole.
 *
 * An administrator can write these columns with plain SQL as well, so the
 * triggers on seckill.items treat these statements as the administrator's, not
 * as the extension's own: they run outside seckill_change_begin_own().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "base/catalog.h"
#include "base/fault.h"
#include "table/item_settings.h"
#include "table/plan.h"

/* The settings of an item, in the order of ItemSetting. */
#define SETTING_COLUMNS \
	"title, starts_at, ends_at, per_user_limit, limit_window, require_token," \
	" pay_within, user_rate, user_burst, max_waiters, numbered, reveal_on," \
	" legs"

#define SETTING_TYPES \
	TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, INTERVALOID, BOOLOID, \
	INTERVALOID, FLOAT4OID, INT4OID, INT4OID, BOOLOID, STATE_TYPE, \
	INT4OID

/*
 * Run a statement that writes settings.  Its arguments are the item, the
 * settings, and for a new item the stock.  Returns the number of rows written.
 */
static uint64
run_as_administrator(SqlPlan *plan, int64 item_id, const ItemDetails *item)
{
	Datum		args[ITEM_SETTINGS + 2];
	char		nulls[ITEM_SETTINGS + 2];
	int			nest = seckill_plan_begin_generic();
	int			rc;

	args[0] = Int64GetDatum(item_id);
	args[ITEM_SETTINGS + 1] = Int32GetDatum(item->stock);
	memset(nulls, ' ', sizeof(nulls));
	for (int i = 0; i < ITEM_SETTINGS; i++)
	{
		args[i + 1] = item->settings[i];
		if (item->nulls[i])
			nulls[i + 1] = 'n';
	}
	rc = SPI_execute_plan(seckill_plan_get(plan), args, nulls, false, 0);
	seckill_plan_end_generic(nest);
	SECKILL_FAULT("item written");
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

static SqlPlan insert_item_plan = {
	.sql = "INSERT INTO seckill.items (item_id, " SETTING_COLUMNS ", stock)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
	" $14, $15)"
	" ON CONFLICT (item_id) DO NOTHING",
	.nargs = 15,
	.types = {INT8OID, SETTING_TYPES, INT4OID}
};

/* Insert an item with its settings and stock; false if it exists. */
bool
seckill_item_insert(int64 item_id, const ItemDetails *item)
{
	return run_as_administrator(&insert_item_plan, item_id, item) > 0;
}

static SqlPlan change_item_plan = {
	.sql = "UPDATE seckill.items SET title = $2, starts_at = $3, ends_at = $4,"
	" per_user_limit = $5, limit_window = $6, require_token = $7,"
	" pay_within = $8, user_rate = $9, user_burst = $10, max_waiters = $11,"
	" numbered = $12, reveal_on = $13, legs = $14"
	" WHERE item_id" EQ "$1",
	.nargs = 14,
	.types = {INT8OID, SETTING_TYPES}
};

/* Write the settings of an item whose row the caller has locked. */
void
seckill_item_update_settings(int64 item_id, const ItemDetails *item)
{
	if (run_as_administrator(&change_item_plan, item_id, item) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("item " INT64_FORMAT " was not updated", item_id),
				 errhint("Look for a trigger or rule on seckill.items that skips rows.")));
}

static SqlPlan read_item_plan = {
	.sql = "SELECT " SETTING_COLUMNS ", stock, leased, lease_id"
	" FROM seckill.items WHERE item_id" EQ "$1",
	.nargs = 1,
	.types = {INT8OID}
};

/*
 * Read the latest committed row of an item, or our own change of it; false if
 * there is no such item.
 */
bool
seckill_item_read_settings(int64 item_id, ItemDetails *item)
{
	Datum		args[] = {Int64GetDatum(item_id)};
	Datum		values[ITEM_SETTINGS + 3];
	bool		nulls[ITEM_SETTINGS + 3];

	if (seckill_plan_run_latest(&read_item_plan, args, seckill_catalog()->owner) == 0)
		return false;
	seckill_plan_copy_columns(values, nulls);
	memcpy(item->settings, values, sizeof(item->settings));
	memcpy(item->nulls, nulls, sizeof(item->nulls));
	item->stock = DatumGetInt32(values[ITEM_SETTINGS]);
	item->leased = DatumGetInt32(values[ITEM_SETTINGS + 1]);
	item->lease_id = nulls[ITEM_SETTINGS + 2] ? 0 :
		DatumGetInt64(values[ITEM_SETTINGS + 2]);
	return true;
}
