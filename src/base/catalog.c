/*
 * catalog.c
 *		OIDs of the extension's objects in this database, and the row that
 *		functions return.
 *
 * Looked up once per backend and kept until an invalidation message names one
 * of the two tables (DROP EXTENSION does) or everything.  The callbacks only
 * set a flag: the look-up waits for the next call.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "seckill.h"

PG_FUNCTION_INFO_V1(seckill_mode);

static const char *const mode_names[SECKILL_MODES] = {
	"none", "optimistic", "retry", "pessimistic", "advisory", "cache", "queue",
	"auto"
};

static const char *const outcome_names[SECKILL_OUTCOMES] = {
	"sold", "sold_out", "conflict", "not_started", "ended", "queued", "busy",
	"limit_reached", "denied", "rate_limited", "request_reused"
};

static const char *const state_names[ORDER_STATES] = {
	"pending", "confirmed", "cancelled", "expired"
};

static SeckillCatalog catalog;
static bool catalog_valid = false;

/* Has any relation changed since this was cleared? */
static bool catalog_changed;

/* Result types of functions that return a row. */
#define RESULTS		6

static struct
{
	Oid			function;
	Oid			items;			/* incarnation of seckill.items */
	TupleDesc	desc;
}			results[RESULTS];
static int	next_result = 0;


static Oid
relation_oid(const char *name)
{
	Oid			schema = get_namespace_oid("seckill", true);
	Oid			relation = OidIsValid(schema) ?
	get_relname_relid(name, schema) : InvalidOid;

	if (!OidIsValid(relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"seckill.%s\" does not exist", name),
				 errhint("Create the extension in this database: CREATE EXTENSION seckill.")));
	return relation;
}

/*
 * Columns of the tables as the extension script made them, in this order.  An
 * InvalidOid stands for a type of our own.
 */
typedef struct Column
{
	const char *name;
	Oid			type;
} Column;

static const Column item_columns[] = {
	{"item_id", INT8OID},
	{"title", TEXTOID},
	{"stock", INT4OID},
	{"version", INT8OID},
	{"leased", INT4OID},
	{"lease_id", INT8OID},
	{"supplied", INT8OID},
	{"starts_at", TIMESTAMPTZOID},
	{"ends_at", TIMESTAMPTZOID},
	{"per_user_limit", INT4OID},
	{"require_token", BOOLOID},
	{"pay_within", INTERVALOID},
	{"user_rate", FLOAT4OID},
	{"user_burst", INT4OID},
	{"max_waiters", INT4OID},
	{"seal", INT8OID}
};

static const Column order_columns[] = {
	{"item_id", INT8OID},
	{"order_id", INT8OID},
	{"user_id", INT8OID},
	{"quantity", INT4OID},
	{"mode", InvalidOid},
	{"lease_id", INT8OID},
	{"created_at", TIMESTAMPTZOID},
	{"request_id", UUIDOID},
	{"limited", BOOLOID},
	{"state", InvalidOid},
	{"pay_by", TIMESTAMPTZOID}
};

static bool
has_column(Oid table, AttrNumber number, const Column *column)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(table),
										Int16GetDatum(number));
	Form_pg_attribute att;
	bool		has;

	if (!HeapTupleIsValid(tuple))
		return false;
	att = (Form_pg_attribute) GETSTRUCT(tuple);
	has = !att->attisdropped &&
		strcmp(NameStr(att->attname), column->name) == 0 &&
		(!OidIsValid(column->type) || att->atttypid == column->type);
	ReleaseSysCache(tuple);
	return has;
}

/*
 * Columns are read by position, and as values of these types: a table where
 * one was dropped, renamed or given another type must not be read at all.
 * Columns may be added.
 */
static void
check_columns(Oid table, const char *name, const Column *columns, int n)
{
	for (int i = 0; i < n; i++)
		if (!has_column(table, i + 1, &columns[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
					 errmsg("column \"%s\" of table \"seckill.%s\" is not as the extension made it",
							columns[i].name, name),
					 errhint("A column that was renamed or given another type can be changed back. One that was dropped cannot: copy what is left, and create the extension again.")));
}

/* The number of a column of one of the two tables. */
int
seckill_catalog_column(Oid table, const char *name)
{
	bool		is_items = table == seckill_catalog()->items;
	const Column *columns = is_items ? item_columns : order_columns;
	int			n = is_items ? lengthof(item_columns) : lengthof(order_columns);

	for (int i = 0; i < n; i++)
		if (strcmp(columns[i].name, name) == 0)
			return i + 1;
	elog(ERROR, "there is no column \"%s\"", name);
}

static Oid
table_owner(Oid table)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", table);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
look_up_values(Oid type, const char *const *names, int n, Oid *values)
{
	for (int i = 0; i < n; i++)
	{
		values[i] = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
									ObjectIdGetDatum(type),
									CStringGetDatum(names[i]));
		if (!OidIsValid(values[i]))
			elog(ERROR, "enum value \"%s\" is missing", names[i]);
	}
}

/* seckill_outcome, which is where seckill_mode is. */
static Oid
outcome_type(Oid mode_type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(mode_type));
	Oid			schema;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", mode_type);
	schema = ((Form_pg_type) GETSTRUCT(tuple))->typnamespace;
	ReleaseSysCache(tuple);
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						   CStringGetDatum("seckill_outcome"),
						   ObjectIdGetDatum(schema));
}

static SeckillCatalog
read_catalog(void)
{
	SeckillCatalog fresh;

	fresh.items = relation_oid("items");
	fresh.items_key = relation_oid("items_pkey");
	fresh.orders = relation_oid("orders");
	fresh.orders_user = relation_oid("orders_user");
	fresh.orders_request = relation_oid("orders_request");
	fresh.order_ids = relation_oid("orders_order_id_seq");
	check_columns(fresh.items, "items", item_columns, lengthof(item_columns));
	check_columns(fresh.orders, "orders", order_columns,
				  lengthof(order_columns));
	fresh.owner = table_owner(fresh.items);
	fresh.orders_owner = table_owner(fresh.orders);
	fresh.mode_type = get_atttype(fresh.orders,
								  get_attnum(fresh.orders, "mode"));
	look_up_values(fresh.mode_type, mode_names, SECKILL_MODES, fresh.mode);
	fresh.state_type = get_atttype(fresh.orders,
								   get_attnum(fresh.orders, "state"));
	look_up_values(fresh.state_type, state_names, ORDER_STATES, fresh.state);
	look_up_values(outcome_type(fresh.mode_type), outcome_names,
				   SECKILL_OUTCOMES, fresh.outcome);
	return fresh;
}

/*
 * Look everything up.  A look-up may bring the news that the result of an
 * earlier one is out of date, and nobody would tell us again.  A server that
 * is told to discard its caches calls every look-up such news.
 */
static void
load_catalog(void)
{
	SeckillCatalog fresh;

	do
	{
		catalog_changed = false;
		fresh = read_catalog();
	} while (catalog_changed && debug_discard_caches == 0);

	catalog = fresh;
	catalog_valid = true;
}

/* The OIDs as they are now; raises if this database has no extension. */
const SeckillCatalog *
seckill_catalog(void)
{
	if (!catalog_valid)
		load_catalog();
	return &catalog;
}

SeckillMode
seckill_catalog_mode(Oid value)
{
	const SeckillCatalog *c = seckill_catalog();

	for (int i = 0; i < SECKILL_MODES; i++)
		if (c->mode[i] == value)
			return (SeckillMode) i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown mode"),
			 errhint("Values added to seckill_mode have no meaning to this version.")));
}

/* The value of seckill_mode that a label stands for; InvalidOid: none. */
Oid
seckill_catalog_find_mode(const char *label, size_t length)
{
	for (int i = 0; i < SECKILL_MODES; i++)
		if (strlen(mode_names[i]) == length &&
			memcmp(mode_names[i], label, length) == 0)
			return seckill_catalog()->mode[i];
	return InvalidOid;
}

/*
 * seckill_mode(text) returns seckill_mode
 *
 * The function behind the implicit casts, for callers who declare the type of
 * what they send.  Says what enum_in() says, and what the labels are.
 */
Datum
seckill_mode(PG_FUNCTION_ARGS)
{
	text	   *label = PG_GETARG_TEXT_PP(0);
	Oid			value = seckill_catalog_find_mode(VARDATA_ANY(label),
												  VARSIZE_ANY_EXHDR(label));

	if (OidIsValid(value))
		PG_RETURN_OID(value);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input value for enum %s: \"%s\"",
					"seckill_mode", text_to_cstring(label)),
			 errhint("The modes are auto, cache, queue, retry, optimistic, pessimistic, advisory and none.")));
}

/* The row type of the function that is called, blessed and kept. */
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

/* Make the row that the function returns. */
Datum
seckill_catalog_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	return HeapTupleGetDatum(heap_form_tuple(result_desc(fcinfo), values,
											 nulls));
}

/* Make the row (outcome, number), number NULL if there is none. */
Datum
seckill_catalog_result(FunctionCallInfo fcinfo, SeckillOutcome outcome,
					   bool has_number, int64 number)
{
	Datum		values[2];
	bool		nulls[2] = {false, !has_number};

	values[0] = ObjectIdGetDatum(seckill_catalog()->outcome[outcome]);
	values[1] = Int64GetDatum(number);
	return seckill_catalog_row(fcinfo, values, nulls);
}

static void
on_relcache_inval(Datum arg, Oid relid)
{
	catalog_changed = true;
	if (relid == InvalidOid || relid == catalog.items ||
		relid == catalog.orders)
		catalog_valid = false;
}

void
seckill_catalog_init(void)
{
	CacheRegisterRelcacheCallback(on_relcache_inval, (Datum) 0);
}
