/*
 * catalog.c
 *		OIDs of the extension's objects in the current database.
 *
 * They are looked up once per backend and kept until an invalidation message
 * names one of our tables (DROP EXTENSION sends one), the sequence of order
 * ids, or all relations.  The invalidation callback only sets flags; the next
 * call looks the objects up again.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "base/columns.h"
#include "base/node.h"
#include "seckill.h"

static const char *const mode_names[SECKILL_MODES] = {
	"none", "optimistic", "retry", "pessimistic", "advisory", "cache", "queue",
	"auto"
};

static const char *const outcome_names[SECKILL_OUTCOMES] = {
	"sold", "sold_out", "conflict", "not_started", "ended", "queued", "busy",
	"limit_reached", "denied", "rate_limited", "request_reused",
	"unknown_item", "seat_taken", "moved"
};

static const char *const redeem_names[REDEEM_OUTCOMES] = {
	"redeemed", "used", "expired", "unknown", "rate_limited"
};

static const char *const state_names[ORDER_STATES] = {
	"pending", "confirmed", "cancelled", "expired"
};

static SeckillCatalog catalog;
static bool catalog_valid = false;

/* Set when any relation is invalidated; load_catalog() clears it. */
static bool catalog_changed;

/* Return the OID of a relation of schema seckill; raise if there is none. */
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
 * Name and type of each leading column of the tables, at its position in
 * columns.h.  A type of InvalidOid is not checked: it is one of the
 * extension's own types.
 */
typedef struct Column
{
	const char *name;
	Oid			type;
} Column;

static const Column item_columns[ITEM_COLUMNS] = {
	[ITEM_ITEM_ID - 1] = {"item_id", INT8OID},
	[ITEM_TITLE - 1] = {"title", TEXTOID},
	[ITEM_STOCK - 1] = {"stock", INT4OID},
	[ITEM_VERSION - 1] = {"version", INT8OID},
	[ITEM_LEASED - 1] = {"leased", INT4OID},
	[ITEM_LEASE_ID - 1] = {"lease_id", INT8OID},
	[ITEM_SUPPLIED - 1] = {"supplied", INT8OID},
	[ITEM_STARTS_AT - 1] = {"starts_at", TIMESTAMPTZOID},
	[ITEM_ENDS_AT - 1] = {"ends_at", TIMESTAMPTZOID},
	[ITEM_PER_USER_LIMIT - 1] = {"per_user_limit", INT4OID},
	[ITEM_LIMIT_WINDOW - 1] = {"limit_window", INTERVALOID},
	[ITEM_REQUIRE_TOKEN - 1] = {"require_token", BOOLOID},
	[ITEM_PAY_WITHIN - 1] = {"pay_within", INTERVALOID},
	[ITEM_USER_RATE - 1] = {"user_rate", FLOAT4OID},
	[ITEM_USER_BURST - 1] = {"user_burst", INT4OID},
	[ITEM_MAX_WAITERS - 1] = {"max_waiters", INT4OID},
	[ITEM_SEAL - 1] = {"seal", INT8OID},
	[ITEM_NUMBERED - 1] = {"numbered", BOOLOID},
	[ITEM_NUMBERS - 1] = {"numbers", INT8MULTIRANGEOID},
	[ITEM_OFF_SALE - 1] = {"off_sale", INT8MULTIRANGEOID},
	[ITEM_REVEAL_ON - 1] = {"reveal_on", InvalidOid},
	[ITEM_LEGS - 1] = {"legs", INT4OID},
	[ITEM_PLACE - 1] = {"place", TEXTOID},
	[ITEM_SPLIT_OVER - 1] = {"split_over", INT4ARRAYOID}
};

static const Column order_columns[ORDER_COLUMNS] = {
	[ORDER_ITEM_ID - 1] = {"item_id", INT8OID},
	[ORDER_ORDER_ID - 1] = {"order_id", INT8OID},
	[ORDER_USER_ID - 1] = {"user_id", INT8OID},
	[ORDER_QUANTITY - 1] = {"quantity", INT4OID},
	[ORDER_MODE - 1] = {"mode", InvalidOid},
	[ORDER_LEASE_ID - 1] = {"lease_id", INT8OID},
	[ORDER_CREATED_AT - 1] = {"created_at", TIMESTAMPTZOID},
	[ORDER_REQUEST_ID - 1] = {"request_id", UUIDOID},
	[ORDER_LIMITED - 1] = {"limited", BOOLOID},
	[ORDER_STATE - 1] = {"state", InvalidOid},
	[ORDER_PAY_BY - 1] = {"pay_by", TIMESTAMPTZOID},
	[ORDER_UNIT - 1] = {"unit", INT4OID},
	[ORDER_REDEEMED_AT - 1] = {"redeemed_at", TIMESTAMPTZOID},
	[ORDER_SEATS - 1] = {"seats", INT4ARRAYOID},
	[ORDER_SEAT_LEGS - 1] = {"seat_legs", INT8ARRAYOID},
	[ORDER_REDEEMED_FROM - 1] = {"redeemed_from", InvalidOid}
};

static const Column unit_columns[UNIT_COLUMNS] = {
	[UNIT_ITEM_ID - 1] = {"item_id", INT8OID},
	[UNIT_UNIT - 1] = {"unit", INT4OID},
	[UNIT_CODE - 1] = {"code", TEXTOID},
	[UNIT_PRIZE - 1] = {"prize", INT4OID},
	[UNIT_AMOUNT - 1] = {"amount", INT8OID}
};

static const Column release_columns[RELEASE_COLUMNS] = {
	[RELEASE_ITEM_ID - 1] = {"item_id", INT8OID},
	[RELEASE_RELEASE_ID - 1] = {"release_id", INT8OID},
	[RELEASE_RELEASE_AT - 1] = {"release_at", TIMESTAMPTZOID},
	[RELEASE_UNITS - 1] = {"units", INT4OID},
	[RELEASE_FIRST_UNIT - 1] = {"first_unit", INT4OID},
	[RELEASE_DONE_AT - 1] = {"done_at", TIMESTAMPTZOID}
};

static const Column seat_columns[SEAT_COLUMNS] = {
	[SEAT_ITEM_ID - 1] = {"item_id", INT8OID},
	[SEAT_SEAT - 1] = {"seat", INT4OID},
	[SEAT_BLOCK - 1] = {"block", INT4OID},
	[SEAT_CAR - 1] = {"car", INT4OID},
	[SEAT_LABEL - 1] = {"label", TEXTOID},
	[SEAT_TAKEN - 1] = {"taken", INT8OID}
};

static const Column prize_columns[PRIZE_COLUMNS] = {
	[PRIZE_ITEM_ID - 1] = {"item_id", INT8OID},
	[PRIZE_PRIZE - 1] = {"prize", INT4OID},
	[PRIZE_TITLE - 1] = {"title", TEXTOID},
	[PRIZE_AMOUNT - 1] = {"amount", INT8OID},
	[PRIZE_QUANTITY - 1] = {"quantity", INT4OID}
};

static const Column commitment_columns[COMMITMENT_COLUMNS] = {
	[COMMITMENT_ITEM_ID - 1] = {"item_id", INT8OID},
	[COMMITMENT_FIRST_UNIT - 1] = {"first_unit", INT4OID},
	[COMMITMENT_LAST_UNIT - 1] = {"last_unit", INT4OID},
	[COMMITMENT_COMMITMENT - 1] = {"commitment", BYTEAOID},
	[COMMITMENT_SEED - 1] = {"seed", BYTEAOID},
	[COMMITMENT_CREATED_AT - 1] = {"created_at", TIMESTAMPTZOID},
	[COMMITMENT_REVEALED_AT - 1] = {"revealed_at", TIMESTAMPTZOID}
};

/* Is this the column at that position of the table? */
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
		(!OidIsValid(column->type) ||
		 getBaseType(att->atttypid) == column->type);
	ReleaseSysCache(tuple);
	return has;
}

/*
 * Raise unless the table begins with these columns.
 *
 * Columns are read by position and as values of these types, so a table with a
 * column that was dropped, renamed or given another type must not be read at
 * all.  Columns after these may be added.
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

/*
 * Return the number of a column of seckill.items, seckill.orders,
 * seckill.releases, seckill.seats or seckill.prizes.  Raises if the extension
 * has no such column.
 */
int
seckill_catalog_column(Oid table, const char *name)
{
	const Column *columns = order_columns;
	int			n = lengthof(order_columns);

	if (table == seckill_catalog()->items)
	{
		columns = item_columns;
		n = lengthof(item_columns);
	}
	else if (table == seckill_catalog()->releases)
	{
		columns = release_columns;
		n = lengthof(release_columns);
	}
	else if (table == seckill_catalog()->seats)
	{
		columns = seat_columns;
		n = lengthof(seat_columns);
	}
	else if (table == seckill_catalog()->prizes)
	{
		columns = prize_columns;
		n = lengthof(prize_columns);
	}
	for (int i = 0; i < n; i++)
		if (strcmp(columns[i].name, name) == 0)
			return i + 1;
	elog(ERROR, "there is no column \"%s\"", name);
}

/* Return the owner of a table. */
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

/* Return the owner of a table of seckill_cluster, which may be missing. */
Oid
seckill_catalog_cluster_owner(const char *name)
{
	Oid			table = get_relname_relid(name, get_namespace_oid("seckill", false));

	if (!OidIsValid(table))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"seckill.%s\" does not exist", name),
				 errhint("Create the extension in this database: CREATE EXTENSION seckill_cluster.")));
	return table_owner(table);
}

/* Look up the OIDs of the labels of an enum type. */
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

/*
 * Return the OID of the type of that name in the schema of seckill_mode.
 */
static Oid
type_beside(Oid mode_type, const char *name)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(mode_type));
	Oid			schema;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", mode_type);
	schema = ((Form_pg_type) GETSTRUCT(tuple))->typnamespace;
	ReleaseSysCache(tuple);
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						   CStringGetDatum(name),
						   ObjectIdGetDatum(schema));
}

/* Set the number of this node by the range of the sequence of order ids. */
static void
read_node(SeckillCatalog *c)
{
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(c->order_ids));
	Form_pg_sequence sequence;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", c->order_ids);
	sequence = (Form_pg_sequence) GETSTRUCT(tuple);
	c->node = seckill_node_of(sequence->seqmin);
	c->node_timeline = (TimeLineID) NODE_POSITION(sequence->seqstart);
	ReleaseSysCache(tuple);
}

/* Look up all objects and check the columns; raises if anything is missing. */
static SeckillCatalog
read_catalog(void)
{
	SeckillCatalog fresh;

	fresh.items = relation_oid("items");
	fresh.orders = relation_oid("orders");
	fresh.units = relation_oid("units");
	fresh.releases = relation_oid("releases");
	fresh.seats = relation_oid("seats");
	fresh.prizes = relation_oid("prizes");
	fresh.commitments = relation_oid("commitments");
	check_columns(fresh.items, "items", item_columns, lengthof(item_columns));
	check_columns(fresh.orders, "orders", order_columns,
				  lengthof(order_columns));
	check_columns(fresh.units, "units", unit_columns, lengthof(unit_columns));
	check_columns(fresh.releases, "releases", release_columns,
				  lengthof(release_columns));
	check_columns(fresh.seats, "seats", seat_columns, lengthof(seat_columns));
	check_columns(fresh.prizes, "prizes", prize_columns,
				  lengthof(prize_columns));
	check_columns(fresh.commitments, "commitments", commitment_columns,
				  lengthof(commitment_columns));
	fresh.items_key = relation_oid("items_pkey");
	fresh.orders_user = relation_oid("orders_user");
	fresh.orders_request = relation_oid("orders_request");
	fresh.orders_unit = relation_oid("orders_unit");
	fresh.order_ids = relation_oid("orders_order_id_seq");
	read_node(&fresh);
	fresh.units_key = relation_oid("units_pkey");
	fresh.units_code = relation_oid("units_code_key");
	fresh.seats_key = relation_oid("seats_pkey");
	fresh.owner = table_owner(fresh.items);
	fresh.orders_owner = table_owner(fresh.orders);
	fresh.releases_owner = table_owner(fresh.releases);
	fresh.seats_owner = table_owner(fresh.seats);
	fresh.units_owner = table_owner(fresh.units);
	fresh.prizes_owner = table_owner(fresh.prizes);
	fresh.commitments_owner = table_owner(fresh.commitments);
	fresh.mode_type = get_atttype(fresh.orders,
								  get_attnum(fresh.orders, "mode"));
	look_up_values(fresh.mode_type, mode_names, SECKILL_MODES, fresh.mode);
	fresh.state_type = get_atttype(fresh.orders,
								   get_attnum(fresh.orders, "state"));
	look_up_values(fresh.state_type, state_names, ORDER_STATES, fresh.state);
	look_up_values(type_beside(fresh.mode_type, "seckill_outcome"),
				   outcome_names, SECKILL_OUTCOMES, fresh.outcome);
	look_up_values(type_beside(fresh.mode_type, "seckill_redeem_outcome"),
				   redeem_names, REDEEM_OUTCOMES, fresh.redeem_outcome);
	return fresh;
}

/*
 * Look up all objects until a whole pass has seen no invalidation.
 *
 * A look-up can process the invalidation of what an earlier one of the same
 * pass has returned, and that message is not sent again.  With
 * debug_discard_caches every look-up invalidates everything; then one pass has
 * to do.
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

	fresh.generation = catalog.generation + 1;
	catalog = fresh;
	catalog_valid = true;
}

/*
 * Return the OIDs, looked up again after an invalidation.  Raises if the
 * current database does not have the extension.
 */
const SeckillCatalog *
seckill_catalog(void)
{
	if (!catalog_valid)
		load_catalog();
	return &catalog;
}

/*
 * Return the mode that a value of seckill_mode stands for.  Raises for a label
 * that this version does not know.
 */
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

/*
 * Return the value of seckill_mode with this label, which need not be
 * terminated; InvalidOid if there is none.
 */
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
 * Invalidation callback; relid is InvalidOid when all relations are
 * invalidated.
 */
static void
on_relcache_inval(Datum arg, Oid relid)
{
	catalog_changed = true;
	if (relid == InvalidOid || relid == catalog.items ||
		relid == catalog.orders || relid == catalog.units ||
		relid == catalog.releases || relid == catalog.seats ||
		relid == catalog.prizes || relid == catalog.commitments ||
		relid == catalog.order_ids)
		catalog_valid = false;
}

/* Register the invalidation callback; for _PG_init(). */
void
seckill_catalog_init(void)
{
	CacheRegisterRelcacheCallback(on_relcache_inval, (Datum) 0);
}
