/*
 * catalog.c
 *		OIDs of the extension's objects in this database, and the row that
 *		seckill_buy returns.
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
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "seckill.h"

static const char *const mode_names[SECKILL_MODES] = {
	"none", "optimistic", "retry", "pessimistic", "advisory", "cache", "auto"
};

static const char *const outcome_names[SECKILL_OUTCOMES] = {
	"sold", "sold_out", "conflict", "not_started", "ended"
};

static SeckillCatalog catalog;
static bool catalog_valid = false;

/* seckill_buy's result type, and the function it was looked up for. */
static Oid	result_function = InvalidOid;
static TupleDesc result_desc = NULL;
static Oid	result_outcome[SECKILL_OUTCOMES];


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

static void
load_catalog(void)
{
	SeckillCatalog fresh;

	fresh.items = relation_oid("items");
	fresh.items_key = relation_oid("items_pkey");
	fresh.orders = relation_oid("orders");
	fresh.order_ids = relation_oid("orders_order_id_seq");
	fresh.owner = table_owner(fresh.items);
	fresh.orders_owner = table_owner(fresh.orders);
	fresh.mode_type = get_atttype(fresh.orders,
								  get_attnum(fresh.orders, "mode"));
	look_up_values(fresh.mode_type, mode_names, SECKILL_MODES, fresh.mode);

	if (fresh.items != catalog.items)
		result_function = InvalidOid;
	catalog = fresh;
	catalog_valid = true;
}

/* The OIDs as they are now; raises if this database has no extension. */
const SeckillCatalog *
seckill_catalog(void)
{
	/* an invalidation may arrive during the look-up itself */
	while (!catalog_valid)
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

static void
load_result(FunctionCallInfo fcinfo)
{
	TupleDesc	desc;
	MemoryContext old;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "seckill_buy must return a row");
	look_up_values(TupleDescAttr(desc, 0)->atttypid, outcome_names,
				   SECKILL_OUTCOMES, result_outcome);
	old = MemoryContextSwitchTo(TopMemoryContext);
	if (result_desc != NULL)
		FreeTupleDesc(result_desc);
	result_desc = BlessTupleDesc(CreateTupleDescCopy(desc));
	MemoryContextSwitchTo(old);
	result_function = fcinfo->flinfo->fn_oid;
}

/* Make the row (outcome, order_id); order_id is NULL unless sold. */
Datum
seckill_catalog_result(FunctionCallInfo fcinfo, SeckillOutcome outcome,
					   int64 order_id)
{
	Datum		values[2];
	bool		nulls[2] = {false, outcome != SECKILL_SOLD};

	if (result_function != fcinfo->flinfo->fn_oid)
		load_result(fcinfo);
	values[0] = ObjectIdGetDatum(result_outcome[outcome]);
	values[1] = Int64GetDatum(order_id);
	return HeapTupleGetDatum(heap_form_tuple(result_desc, values, nulls));
}

static void
on_relcache_inval(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == catalog.items ||
		relid == catalog.orders)
		catalog_valid = false;
}

void
seckill_catalog_init(void)
{
	CacheRegisterRelcacheCallback(on_relcache_inval, (Datum) 0);
}
