/*
 * item.c
 *		Calls on one item for those who run a sale: create and change it, put
 *		units on sale and take them off, look at it and at its orders.
 *
 * They are what a back office needs instead of writing whole rows: a row that
 * was read before a purchase and is saved after it would undo the purchase.
 * Each changes what it names and nothing else, under the lock on the item's
 * row, so it is true of the row as it is then.
 *
 * Units are taken off sale like units are bought in mode pessimistic, but
 * without an order: from the row first, and what the row lacks from its lease.
 *
 * The two calls that look write nothing, wait for no row, work on a standby,
 * and see the newest committed rows and our own.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "seckill.h"

PG_FUNCTION_INFO_V1(seckill_put_item);
PG_FUNCTION_INFO_V1(seckill_restock);
PG_FUNCTION_INFO_V1(seckill_set_available);
PG_FUNCTION_INFO_V1(seckill_write_off);
PG_FUNCTION_INFO_V1(seckill_item);
PG_FUNCTION_INFO_V1(seckill_order);

/* Fewer units are left than are to be taken; others are in order.c. */
#define ERRCODE_UNITS_MISSING	MAKE_SQLSTATE('S','K','0','0','4')

/* How often an INSERT that does nothing is tried. */
#define TRIES	3

/* How often seckill_item() tries to see row and cache as of one moment. */
#define LOOKS	10


/*
 * Settings
 */

/* What can be named in the settings of an item, and its type in JSON. */
static const struct
{
	const char *name;
	Oid			type;
	enum jbvType json;
}			settings[] = {
	[SETTING_TITLE] = {"title", TEXTOID, jbvString},
	[SETTING_STARTS_AT] = {"starts_at", TIMESTAMPTZOID, jbvString},
	[SETTING_ENDS_AT] = {"ends_at", TIMESTAMPTZOID, jbvString},
	[SETTING_PER_USER_LIMIT] = {"per_user_limit", INT4OID, jbvNumeric},
	[SETTING_REQUIRE_TOKEN] = {"require_token", BOOLOID, jbvBool},
	[SETTING_PAY_WITHIN] = {"pay_within", INTERVALOID, jbvString},
	[SETTING_USER_RATE] = {"user_rate", FLOAT4OID, jbvNumeric},
	[SETTING_USER_BURST] = {"user_burst", INT4OID, jbvNumeric},
	[SETTING_MAX_WAITERS] = {"max_waiters", INT4OID, jbvNumeric},
	/* not a setting: how many units a new item has */
	[ITEM_SETTINGS] = {"stock", INT4OID, jbvNumeric}
};

#define STOCK	ITEM_SETTINGS
#define NAMES	(ITEM_SETTINGS + 1)

#define HINT_SETTINGS \
	errhint("Settings are the strings title, starts_at, ends_at and pay_within, the integers per_user_limit, user_burst and max_waiters, the number user_rate, and the boolean require_token; a new item needs the integer stock, too. Null resets a setting.")

/* What the caller has named. */
typedef struct Change
{
	int			count;			/* settings named; stock is none */
	bool		named[NAMES];
	Datum		values[NAMES];
	bool		nulls[NAMES];
} Change;

static int
find_setting(const char *name)
{
	for (int i = 0; i < NAMES; i++)
		if (strcmp(settings[i].name, name) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("an item has no setting \"%s\"", name),
			 HINT_SETTINGS));
}

SECKILL_NORETURN static void
wrong_type(int setting)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("setting \"%s\" has a value of the wrong type",
					settings[setting].name),
			 HINT_SETTINGS));
}

/* A value of JSON, of the type that the setting wants, as text. */
static char *
json_text(int setting, JsonbValue *value)
{
	char	   *text = NULL;

	if (value->type == jbvString)
		text = pnstrdup(value->val.string.val, value->val.string.len);
	else if (value->type == jbvBool)
		text = value->val.boolean ? "true" : "false";
	else if (value->type == jbvNumeric)
		text = DatumGetCString(DirectFunctionCall1(numeric_out,
												   NumericGetDatum(value->val.numeric)));
	if (value->type != settings[setting].json ||
		(settings[setting].type == INT4OID &&
		 strspn(text, "-0123456789") != strlen(text)))
		wrong_type(setting);
	return text;
}

static void
say_setting(void *setting)
{
	errcontext("setting \"%s\"", settings[*(int *) setting].name);
}

/* What the type of the setting makes of the text; its own errors. */
static Datum
read_value(int setting, char *text)
{
	ErrorContextCallback context;
	Oid			input;
	Oid			parameter;
	Datum		value;

	context.callback = say_setting;
	context.arg = &setting;
	context.previous = error_context_stack;
	error_context_stack = &context;
	getTypeInputInfo(settings[setting].type, &input, &parameter);
	value = OidInputFunctionCall(input, text, parameter, -1);
	error_context_stack = context.previous;
	return value;
}

/* The value of a setting that is not set, which only one cannot be. */
static void
reset_value(int setting, Datum *value, bool *isnull)
{
	*value = BoolGetDatum(false);
	*isnull = setting != SETTING_REQUIRE_TOKEN;
}

/* Take note of one setting and its value. */
static void
read_setting(Change *change, int setting, JsonbValue *value)
{
	change->named[setting] = true;
	change->count += setting != STOCK;
	change->nulls[setting] = false;
	if (value->type != jbvNull)
		change->values[setting] = read_value(setting,
											 json_text(setting, value));
	else if (setting != STOCK)
		reset_value(setting, &change->values[setting],
					&change->nulls[setting]);
	else
		wrong_type(setting);
}

static void
read_settings(Jsonb *json, Change *change)
{
	JsonbIterator *iterator;
	JsonbValue	value;
	JsonbIteratorToken token;

	memset(change, 0, sizeof(*change));
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("settings must be a JSON object"),
				 HINT_SETTINGS));
	iterator = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		if (token == WJB_KEY)
		{
			int			setting = find_setting(pnstrdup(value.val.string.val,
														value.val.string.len));

			(void) JsonbIteratorNext(&iterator, &value, true);
			read_setting(change, setting, &value);
		}
}


/*
 * Create and change
 */

static bool
exists(int64 item_id)
{
	ItemRow		row;

	return seckill_ledger_peek(item_id, &row);
}

/*
 * Make an item; false if somebody has made it meanwhile.  Somebody may have
 * deleted it again before we look: only what happens each time is a trigger's
 * doing.
 */
static bool
create_item(int64 item_id, const Change *change)
{
	ItemDetails item;

	if (!change->named[STOCK])
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("item " INT64_FORMAT " does not exist", item_id),
				 errhint("To create it, give its \"stock\", too.")));
	for (int i = 0; i < ITEM_SETTINGS; i++)
		if (change->named[i])
		{
			item.settings[i] = change->values[i];
			item.nulls[i] = change->nulls[i];
		}
		else
			reset_value(i, &item.settings[i], &item.nulls[i]);
	item.stock = DatumGetInt32(change->values[STOCK]);
	for (int i = 0; i < TRIES; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (seckill_ledger_insert_item(item_id, &item))
			return true;
		if (exists(item_id))
			return false;
	}
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("item " INT64_FORMAT " was not inserted", item_id),
			 errhint("Look for a trigger or rule on seckill.items that skips rows.")));
}

/* Change the settings that are named, on the row as it is under its lock. */
static void
change_item(int64 item_id, const Change *change)
{
	ItemRow		row;
	ItemDetails item;

	if (change->count == 0 && !change->named[STOCK])
		return;
	seckill_lease_line_up(item_id);
	seckill_ledger_lock(item_id, &row);
	if (change->named[STOCK])
	{
		seckill_xact_flush_seen();
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("item " INT64_FORMAT " exists, so its stock cannot be set",
						item_id),
				 errhint("Use seckill_restock() to add units or take some away, seckill_set_available() to say how many are left.")));
	}
	if (!seckill_ledger_read_item(item_id, &item))
		seckill_unknown_item(item_id);
	for (int i = 0; i < ITEM_SETTINGS; i++)
		if (change->named[i])
		{
			item.settings[i] = change->values[i];
			item.nulls[i] = change->nulls[i];
		}
	seckill_ledger_change_item(item_id, &item);
	SECKILL_FAULT("settings written");
}

/*
 * seckill_put_item(item_id, settings) returns boolean
 *
 * Create an item with the settings that are named, or change these of one that
 * exists and leave all else as it is.  True if it was created.
 */
Datum
seckill_put_item(PG_FUNCTION_ARGS)
{
	LedgerCaller caller;
	Change		change;
	int64		item_id;
	bool		created;

	seckill_check_writable("seckill_put_item()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "settings");
	item_id = PG_GETARG_INT64(0);
	read_settings(PG_GETARG_JSONB_P(1), &change);
	seckill_ledger_begin(&caller);
	created = !exists(item_id) && create_item(item_id, &change);
	if (!created)
		change_item(item_id, &change);
	seckill_ledger_end(&caller);
	PG_RETURN_BOOL(created);
}


/*
 * Units
 */

/*
 * Lock an item behind those who are in line for it and settle it; leaves its
 * entry, if it has one, pinned in p.
 */
static void
open_item(Purchase *p, int64 item_id, ItemRow *row)
{
	memset(p, 0, sizeof(*p));
	p->item_id = item_id;
	p->entry = seckill_entry_find(item_id);
	seckill_lease_line_up(item_id);
	seckill_ledger_lock(item_id, row);
	seckill_lease_settle(p, row);
}

/*
 * Put units on the locked row, or take them from it, and take units of its
 * lease that we hold out of the books: the difference is supplied.
 */
static void
supply(int64 item_id, int32 to_row, int32 from_lease)
{
	if (to_row == 0 && from_lease == 0)
		return;
	seckill_ledger_sell_locked(item_id, -to_row, from_lease);
	SECKILL_FAULT("units moved");
	seckill_ledger_supply(item_id, (int64) to_row - from_lease);
	seckill_xact_note_row(item_id, ROW_CHANGED);
	SECKILL_FAULT("supply counted");
}

/* Units that can be bought now, by us if the row is our own. */
static int64
available(StockEntry *entry, int32 stock, int64 lease_id)
{
	StockCounters counters;
	StockOwn	own;

	if (entry == NULL)
		return stock;
	seckill_stock_read(entry, &counters);
	if (counters.lease_id != lease_id)
		return stock;
	seckill_xact_own(entry, &own);
	return (int64) stock + counters.avail +
		(own.lease_id == lease_id ? own.credit : 0);
}

/* Put units on sale; the locked row is updated in *row, too. */
static void
add_units(int64 item_id, ItemRow *row, int32 units)
{
	if (row->stock > PG_INT32_MAX - units)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("item " INT64_FORMAT " would have too many units",
						item_id),
				 errdetail("%d are left, %d are the most.", row->stock,
						   PG_INT32_MAX)));
	supply(item_id, units, 0);
	row->stock += units;
}

/*
 * Take units off sale, waiting for those who hold some if there are too few.
 * The window of the sale does not matter.
 */
static void
remove_units(Purchase *p, ItemRow *row, int32 units)
{
	Sale		sale;

	p->quantity = units;
	row->rules.starts_at = DT_NOBEGIN;
	row->rules.ends_at = DT_NOEND;
	seckill_sale_begin(&sale, row, NULL);
	if (seckill_sale_decide(&sale, p, true) != SECKILL_SOLD)
		ereport(ERROR,
				(errcode(ERRCODE_UNITS_MISSING),
				 errmsg("fewer than %d units of item " INT64_FORMAT " are left",
						units, p->item_id),
				 errhint("To take all that are left, call seckill_set_available(" INT64_FORMAT ", 0).",
						 p->item_id)));
	supply(p->item_id, -sale.from_row, sale.from_lease);
	*row = sale.row;
}

static int64
write_off(int64 item_id, int64 units)
{
	ItemRow		row;

	seckill_lease_line_up(item_id);
	seckill_ledger_lock(item_id, &row);
	seckill_ledger_write_off(item_id, units, row.lease_id);
	SECKILL_FAULT("units written off");
	return row.supplied - units;
}

static int64
restock(int64 item_id, int32 units)
{
	Purchase	p;
	ItemRow		row;
	int64		left;

	open_item(&p, item_id, &row);
	if (units >= 0)
		add_units(item_id, &row, units);
	else
		remove_units(&p, &row, -units);
	left = available(p.entry, row.stock, row.lease_id);
	seckill_stock_unpin(p.entry);
	return left;
}

/* The arguments item_id and units, which must fit the columns of items. */
static int32
read_units(FunctionCallInfo fcinfo)
{
	int64		units;

	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "units");
	units = PG_GETARG_INT64(1);
	if (units < -PG_INT32_MAX || units > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("units must be between %d and %d", -PG_INT32_MAX,
						PG_INT32_MAX),
				 errdetail("It is " INT64_FORMAT ".", units)));
	return (int32) units;
}

/*
 * seckill_restock(item_id, units) returns bigint
 *
 * Put units on sale or, if negative, take them off.  Returns how many can be
 * bought then.
 */
Datum
seckill_restock(PG_FUNCTION_ARGS)
{
	LedgerCaller caller;
	int32		units;
	int64		left;

	seckill_check_writable("seckill_restock()");
	units = read_units(fcinfo);
	seckill_ledger_begin(&caller);
	left = restock(PG_GETARG_INT64(0), units);
	seckill_ledger_end(&caller);
	PG_RETURN_INT64(left);
}

/*
 * Until the end of our transaction nobody gets a unit: the row is locked, and
 * the cache is emptied and has no holder but us.
 */
static int64
set_available(int64 item_id, int32 units)
{
	Purchase	p;
	ItemRow		row;
	int32		from_lease;
	int64		left;

	open_item(&p, item_id, &row);
	from_lease = seckill_lease_empty(&p, &row);
	left = (int64) row.stock + from_lease;
	supply(item_id, units - row.stock, from_lease);
	seckill_stock_unpin(p.entry);
	return units - left;
}

/*
 * seckill_set_available(item_id, units) returns bigint
 *
 * Exactly so many units are left when the caller's transaction commits.  Waits
 * for the transactions that hold units, as it is not known what becomes of
 * these.  Returns how many units were put on sale, or, negative, taken off.
 */
Datum
seckill_set_available(PG_FUNCTION_ARGS)
{
	LedgerCaller caller;
	int32		units;
	int64		added;

	seckill_check_writable("seckill_set_available()");
	units = read_units(fcinfo);
	if (units < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("units must not be negative"),
				 errdetail("It is %d.", units),
				 errhint("To take units off sale, call seckill_restock() with a negative number.")));
	seckill_ledger_begin(&caller);
	added = set_available(PG_GETARG_INT64(0), units);
	seckill_ledger_end(&caller);
	PG_RETURN_INT64(added);
}

/*
 * seckill_write_off(item_id, units) returns bigint
 *
 * Orders have left the table, to an archive: their units leave the books.  Also
 * for what an audit shows that has been looked into.  Returns the units
 * supplied.
 */
Datum
seckill_write_off(PG_FUNCTION_ARGS)
{
	LedgerCaller caller;
	int64		supplied;

	seckill_check_writable("seckill_write_off()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "units");
	seckill_ledger_begin(&caller);
	supplied = write_off(PG_GETARG_INT64(0), PG_GETARG_INT64(1));
	seckill_ledger_end(&caller);
	PG_RETURN_INT64(supplied);
}


/*
 * Looking at it
 */

/* Where the units of an item are. */
typedef struct Whereabouts
{
	int64		available;		/* on the row and in the cache */
	int32		held;			/* of the cache, by running transactions */
	int32		unsettled;		/* leased to a memory that is not ours */
} Whereabouts;

/*
 * Add what the entry says to what the row says, which was read after the given
 * generation; false if that is not of one moment.
 */
static bool
locate(StockEntry *entry, uint64 generation, const ItemDetails *item,
	   Whereabouts *units)
{
	StockCounters counters = {0};

	if (entry != NULL)
		seckill_stock_read(entry, &counters);
	units->available = available(entry, item->stock, item->lease_id);
	units->held = counters.lease_id == item->lease_id ? counters.held : 0;
	units->unsettled = item->leased > 0 &&
		(entry == NULL || counters.lease_id != item->lease_id) ? item->leased : 0;
	return counters.generation == generation;
}

/*
 * Read an item and the counters of its entry as of one moment.  While units of
 * it come back all the time there may be no such moment to be found: then the
 * last try is good enough for who looks without a lock.
 */
static void
look(int64 item_id, ItemDetails *item, Whereabouts *units)
{
	StockEntry *entry = seckill_entry_find(item_id);

	for (int i = 0; i < LOOKS; i++)
	{
		uint64		generation = entry != NULL ?
		seckill_stock_generation(entry) : 0;

		CHECK_FOR_INTERRUPTS();
		if (!seckill_ledger_read_item(item_id, item))
			seckill_unknown_item(item_id);
		if (locate(entry, generation, item, units))
			break;
	}
	seckill_stock_unpin(entry);
}

static TimestampTz
time_of(const ItemDetails *item, int setting, TimestampTz if_null)
{
	return item->nulls[setting] ? if_null :
		DatumGetTimestampTz(item->settings[setting]);
}

/* As in the view seckill.stock. */
static const char *
state_of(const ItemDetails *item, const Whereabouts *units)
{
	SaleRules	rules = {
		.starts_at = time_of(item, SETTING_STARTS_AT, DT_NOBEGIN),
		.ends_at = time_of(item, SETTING_ENDS_AT, DT_NOEND)
	};

	switch (seckill_check_window(&rules, GetCurrentTimestamp()))
	{
		case SECKILL_NOT_STARTED:
			return "upcoming";
		case SECKILL_ENDED:
			return "ended";
		default:
			return units->available + units->held + units->unsettled > 0 ?
				"on_sale" : "sold_out";
	}
}

/*
 * seckill_item(item_id) returns (the settings, state, available, unsettled)
 *
 * Counts no orders, so what is left of a lease that no memory knows is not
 * known: at most unsettled units.
 */
Datum
seckill_item(PG_FUNCTION_ARGS)
{
	LedgerCaller caller;
	ItemDetails item;
	Whereabouts units;
	Datum		values[ITEM_SETTINGS + 3];
	bool		nulls[ITEM_SETTINGS + 3] = {0};

	PreventCommandIfParallelMode("seckill_item()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_ledger_begin(&caller);
	look(PG_GETARG_INT64(0), &item, &units);
	seckill_ledger_end(&caller);
	memcpy(values, item.settings, sizeof(item.settings));
	memcpy(nulls, item.nulls, sizeof(item.nulls));
	values[ITEM_SETTINGS] = CStringGetTextDatum(state_of(&item, &units));
	values[ITEM_SETTINGS + 1] = Int64GetDatum(units.available);
	values[ITEM_SETTINGS + 2] = Int32GetDatum(units.unsettled);
	return seckill_catalog_row(fcinfo, values, nulls);
}

/*
 * seckill_order(item_id, order_id)
 *		returns (user_id, quantity, state, created_at, pay_by, mode, request_id)
 */
Datum
seckill_order(PG_FUNCTION_ARGS)
{
	LedgerCaller caller;
	Datum		values[ORDER_DETAILS];
	bool		nulls[ORDER_DETAILS];

	PreventCommandIfParallelMode("seckill_order()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "order_id");
	seckill_ledger_begin(&caller);
	if (!seckill_ledger_read_order(PG_GETARG_INT64(0), PG_GETARG_INT64(1),
								   values, nulls))
		seckill_unknown_order(PG_GETARG_INT64(0), PG_GETARG_INT64(1));
	seckill_ledger_end(&caller);
	return seckill_catalog_row(fcinfo, values, nulls);
}
