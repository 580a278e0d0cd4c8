/*
 * ledger.c
 *		Every statement on seckill.items and seckill.orders, and their plans.
 *
 * Statements run between seckill_table_begin() and seckill_table_end() as
 * the owner of seckill.items, in the way the foreign-key triggers reach their
 * tables, so callers need no right on them.  On an error, the abort of the
 * (sub)transaction restores the user and closes SPI.
 *
 * Every name and operator is schema-qualified, so the caller's search_path
 * decides nothing.  Plans are generic ones, made with sequential scans disabled
 * and under no setting of the caller's: for a small items table the planner
 * would read every dead version of every item, and a serializable transaction
 * would conflict with every buyer.
 *
 * Where orders are found by their key, 'pending' is an argument: as a constant
 * it would allow the index of pending orders, which looks cheap while there
 * are none, and the plan is kept.
 *
 * Rows are locked FOR NO KEY UPDATE, no stronger than the UPDATE that follows,
 * which never changes a key: whoever has inserted a row that refers to the item
 * or the order (FOR KEY SHARE) keeps nobody waiting, nor does it deadlock
 * with others who have when it buys itself.
 *
 * One row of items by its key, the commonest thing read, is fetched straight
 * from the index, without the executor's start-up.
 *
 * Snapshots.  A statement runs under the transaction's snapshot, which is a
 * new one per statement in READ COMMITTED; only what must see the newest
 * committed rows at any isolation level (peek, and the counting of a dead
 * lease) asks for the latest snapshot.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/fault.h"
#include "table/plan.h"
#include "xact/changes.h"


/*
 * Become the owner and open SPI.  *caller keeps who called, for the matching
 * seckill_table_end(); pairs nest, as a trigger on orders may buy.
 */
void
seckill_table_begin(TableCaller *caller)
{
	const SeckillCatalog *c = seckill_catalog();

	GetUserIdAndSecContext(&caller->user, &caller->context);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	SetUserIdAndSecContext(c->owner,
						   caller->context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS);
}

void
seckill_table_end(const TableCaller *caller)
{
	SetUserIdAndSecContext(caller->user, caller->context);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}


/* Is somebody who uses SPI around the call that runs? */
bool
seckill_table_spi_in_use(void)
{
	return SPI_unregister_relation("") != SPI_ERROR_UNCONNECTED;
}


/*
 * Plans
 */

static void
prepare(SqlPlan *plan)
{
	const SeckillCatalog *c = seckill_catalog();
	Oid			types[MAX_ARGS];

	for (int i = 0; i < plan->nargs; i++)
	{
		types[i] = plan->types[i];
		if (types[i] == MODE_TYPE)
			types[i] = c->mode_type;
		else if (types[i] == STATE_TYPE)
			types[i] = c->state_type;
	}
	plan->saved = SPI_prepare_cursor(plan->sql, plan->nargs, types,
									 CURSOR_OPT_GENERIC_PLAN);
	if (plan->saved == NULL)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan->saved);
	plan->items = c->items;
}

/* DROP and CREATE EXTENSION gave the types and tables new OIDs. */
static void
forget(SqlPlan *plan)
{
	SPI_freeplan(plan->saved);
	plan->saved = NULL;
}

/*
 * What decides how a plan is made, whatever the caller has set for its own
 * statements: index scans only, and joins by such; everything else as
 * PostgreSQL has it by default.  Costs count, too: a page can be made so dear
 * that a disabled scan is the cheapest.  Without JIT, which would take longer
 * than the statement, each time.
 */
static const char *const planner_settings[][2] = {
	{"enable_indexscan", "on"},
	{"enable_indexonlyscan", "on"},
	{"enable_tidscan", "on"},
	{"enable_nestloop", "on"},
	{"enable_seqscan", "off"},
	{"enable_bitmapscan", "off"},
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
	{"enable_material", "on"},
	{"enable_memoize", "off"},
	{"enable_sort", "on"},
	{"enable_incremental_sort", "on"},
	{"enable_hashagg", "on"},
	{"seq_page_cost", "1"},
	{"random_page_cost", "4"},
	{"cpu_tuple_cost", "0.01"},
	{"cpu_index_tuple_cost", "0.005"},
	{"cpu_operator_cost", "0.0025"},
	{"effective_cache_size", "4GB"},
	{"from_collapse_limit", "8"},
	{"join_collapse_limit", "8"},
	{"geqo", "off"},
	{"constraint_exclusion", "partition"},
	{"max_parallel_workers_per_gather", "0"},
	{"jit", "off"}
};

/* Set something until the end of the GUC nest level. */
static void
set_locally(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

static CachedPlanSource *
source_of(SqlPlan *plan)
{
	return linitial(SPI_plan_get_plan_sources(plan->saved));
}

/* Make the plan under our settings, and put away one made under others. */
static void
replan(SqlPlan *plan)
{
	CachedPlanSource *source = source_of(plan);
	int			nest = NewGUCNestLevel();

	for (int i = 0; i < (int) lengthof(planner_settings); i++)
		set_locally(planner_settings[i][0], planner_settings[i][1]);
	if (source->gplan != NULL)
		source->gplan->is_valid = false;
	ReleaseCachedPlan(SPI_plan_get_cached_plan(plan->saved),
					  CurrentResourceOwner);
	plan->generation = source->gplan->generation;
	AtEOXact_GUC(true, nest);
}

/*
 * Will SPI use the plan that we have made?  It makes another for each of these
 * reasons, under the settings of the caller.  If one arose after we asked, as it
 * locked the tables, the number of the plan tells next time.
 */
static bool
is_planned(SqlPlan *plan)
{
	CachedPlanSource *source = source_of(plan);
	CachedPlan *generic = source->gplan;

	return source->is_valid && generic != NULL && generic->is_valid &&
		generic->generation == plan->generation &&
		SeckillSearchPathMatches(source->search_path) &&
		(!source->dependsOnRLS ||
		 (source->rewriteRoleId == GetUserId() &&
		  source->rewriteRowSecurity == row_security)) &&
		(!generic->dependsOnRole || generic->planRoleId == GetUserId()) &&
		(!TransactionIdIsValid(generic->saved_xmin) ||
		 TransactionIdEquals(generic->saved_xmin, TransactionXmin));
}

/* The plan of a statement, ready to run. */
SPIPlanPtr
seckill_plan_get(SqlPlan *plan)
{
	if (plan->saved != NULL && plan->items != seckill_catalog()->items)
		forget(plan);
	if (plan->saved == NULL)
		prepare(plan);
	if (!is_planned(plan))
		replan(plan);
	SECKILL_FAULT("statement planned");
	return plan->saved;
}


/*
 * Running
 */

/* Run as another user for a while; *self keeps who we are. */
void
seckill_table_become(Oid user, TableCaller *self)
{
	GetUserIdAndSecContext(&self->user, &self->context);
	SetUserIdAndSecContext(user, self->context);
}

/*
 * A caller who wants custom plans (plan_cache_mode) would have one made for each
 * statement of ours, under settings of its own: not until seckill_plan_end_generic().
 * Triggers of the application's run their statements without custom plans
 * meanwhile.  Returns the GUC nest level, or 0 if nothing was to be done.
 */
int
seckill_plan_begin_generic(void)
{
	int			nest;

	if (likely(plan_cache_mode != PLAN_CACHE_MODE_FORCE_CUSTOM_PLAN))
		return 0;
	nest = NewGUCNestLevel();
	set_locally("plan_cache_mode", "auto");
	return nest;
}

void
seckill_plan_end_generic(int nest)
{
	if (nest > 0)
		AtEOXact_GUC(true, nest);
}

/*
 * Run a statement on many items under the transaction's snapshot; the number
 * of rows it made.
 */
uint64
seckill_plan_run_many(SqlPlan *plan, Datum *args)
{
	int			nest = seckill_plan_begin_generic();
	int			rc = SPI_execute_plan(seckill_plan_get(plan), args, NULL, false, 0);

	seckill_plan_end_generic(nest);
	SECKILL_FAULT("statement run");
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

/* The same on one item, the first argument. */
uint64
seckill_plan_run(SqlPlan *plan, Datum *args)
{
	uint64		processed;

	seckill_change_begin_own(DatumGetInt64(args[0]));
	processed = seckill_plan_run_many(plan, args);
	seckill_change_end_own();
	return processed;
}

/*
 * Run a SELECT, as the owner of its table, that sees the newest committed rows
 * and our own.  The tables are locked before the snapshot is taken.
 */
uint64
seckill_plan_run_latest(SqlPlan *plan, Datum *args, Oid owner)
{
	TableCaller caller;
	SPIPlanPtr	saved;
	Snapshot	snapshot;
	int			nest;
	int			rc;

	seckill_table_become(owner, &caller);
	LockRelationOid(seckill_catalog()->items, AccessShareLock);
	LockRelationOid(seckill_catalog()->orders, AccessShareLock);
	saved = seckill_plan_get(plan);
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	nest = seckill_plan_begin_generic();
	rc = SPI_execute_snapshot(saved, args, NULL, snapshot, InvalidSnapshot,
							  true, false, 0);
	seckill_plan_end_generic(nest);
	SECKILL_FAULT("statement run as owner");
	SetUserIdAndSecContext(caller.user, caller.context);
	UnregisterSnapshot(snapshot);
	if (rc < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s",
			 SPI_result_code_string(rc));
	return SPI_processed;
}


/*
 * seckill.items.  Functions that read return false if there is no such item.
 */

/* A column of a row of the last result; if_null for a NULL. */
Datum
seckill_plan_result_column(uint64 i, int number, Datum if_null)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[i],
									  SPI_tuptable->tupdesc, number, &isnull);

	return isnull ? if_null : value;
}

/* Make arrays for statements on many rows. */
Datum
seckill_plan_int8_array(Datum *values, int n)
{
	return PointerGetDatum(construct_array(values, n, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

Datum
seckill_plan_int4_array(Datum *values, int n)
{
	return PointerGetDatum(construct_array(values, n, INT4OID, sizeof(int32),
										   true, TYPALIGN_INT));
}


/*
 * Items and orders as a whole, see item.c
 */

/*
 * The columns of the one row that was read, for the caller of
 * seckill_table_end().
 */
void
seckill_plan_copy_columns(Datum *values, bool *nulls)
{
	HeapTuple	tuple = SPI_copytuple(SPI_tuptable->vals[0]);

	heap_deform_tuple(tuple, SPI_tuptable->tupdesc, values, nulls);
	SPI_freetuptable(SPI_tuptable);
}


/*
 * seckill.orders
 */

/* An array with NULLs, one-dimensional. */
Datum
seckill_plan_array_with_nulls(Datum *values, bool *nulls, int n, Oid type, int length,
							  bool by_value, char align)
{
	int			lower = 1;

	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower,
											  type, length, by_value, align));
}


/*
 * The life of an order
 */

/* The first value of a statement on the newest rows, or DT_NOEND. */
TimestampTz
seckill_plan_first_time(SqlPlan *plan, Datum *args, Oid owner)
{
	TimestampTz time = DT_NOEND;

	if (seckill_plan_run_latest(plan, args, owner) > 0)
		time = DatumGetTimestampTz(seckill_plan_result_column(0, 1, 0));
	SPI_freetuptable(SPI_tuptable);
	return time;
}
