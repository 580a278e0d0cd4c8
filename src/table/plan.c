/*
 * plan.c
 *		Runs the statements on seckill.items and seckill.orders: as whom, by
 *		which plans, under which snapshots.
 *
 * User.  Statements run between seckill_table_begin() and seckill_table_end()
 * as the owner of seckill.items, in the way that the foreign-key triggers
 * reach their tables, so callers need no right on the tables.  On an error,
 * the abort of the (sub)transaction restores the user and closes SPI.
 *
 * Names.  Every name and operator is schema-qualified: the caller's
 * search_path decides nothing.
 *
 * Plans.  Each statement has one saved plan per backend, a generic one, made
 * with sequential scans disabled and under none of the caller's settings.  For
 * a small items table the planner would otherwise read every dead version of
 * every item, and a serializable transaction would conflict with every buyer.
 * Where orders are found by their key, 'pending' is an argument.  As a
 * constant it would allow the index of pending orders, which looks cheap while
 * there are none, and the plan is kept.
 *
 * Locks.  Rows are locked FOR NO KEY UPDATE, no stronger than the UPDATE that
 * follows, which never changes a key.  A transaction that has inserted a row
 * that refers to the item or the order (FOR KEY SHARE) therefore blocks no
 * purchase, and does not deadlock with other such transactions when it buys.
 * Table locks are taken by relation.c.
 *
 * Snapshots.  A statement runs under the transaction's snapshot, which in READ
 * COMMITTED is a new one per statement.  Statements that must see the latest
 * committed rows at any isolation level, such as the count of what a dead
 * lease has sold, run under the latest snapshot: seckill_plan_run_latest().
 *
 * The most frequent read, that of a row of seckill.items by its key, is not
 * here: item_row.c fetches the row from the index, without the executor's
 * start-up.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/fault.h"
#include "table/plan.h"
#include "table/relation.h"
#include "xact/changes.h"

/*
 * The user
 */

/*
 * Become the owner of seckill.items and open SPI.  *caller keeps the user for
 * the matching seckill_table_end().  Pairs nest, as a trigger on orders may
 * buy.
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

/* Close SPI and become the caller again. */
void
seckill_table_end(const TableCaller *caller)
{
	SetUserIdAndSecContext(caller->user, caller->context);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}

/* Run as another user until seckill_table_restore_user(previous). */
void
seckill_table_switch_user(Oid user, TableCaller *previous)
{
	GetUserIdAndSecContext(&previous->user, &previous->context);
	SetUserIdAndSecContext(user, previous->context);
}

void
seckill_table_restore_user(const TableCaller *previous)
{
	SetUserIdAndSecContext(previous->user, previous->context);
}

/* Is SPI connected, that is, is this call nested in a caller of SPI? */
bool
seckill_table_spi_in_use(void)
{
	return SPI_unregister_relation("") != SPI_ERROR_UNCONNECTED;
}


/*
 * Plans
 */

/* Parse the statement, and save its plan for the life of the backend. */
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

/*
 * Drop the plan: DROP and CREATE EXTENSION have given the types and tables new
 * OIDs.
 */
static void
forget(SqlPlan *plan)
{
	SPI_freeplan(plan->saved);
	plan->saved = NULL;
}

/*
 * The settings under which plans are made, whatever the caller has set for its
 * own statements: index scans only, joined by nested loops, and PostgreSQL's
 * defaults for the rest.  Costs are among them, as a page can be made so dear
 * that a disabled scan is the cheapest.  JIT is off: it would take longer than
 * the statement, each time.
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

/* Set a parameter until the end of the GUC nest level. */
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

/* Make the plan under our settings, and discard one made under others. */
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
 * Will SPI use the plan that we have made?  Each condition below is a reason
 * for SPI to make another plan, under the caller's settings.  If one of them
 * arises after this check, while SPI locks the tables, the plan's generation
 * differs the next time.
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

/*
 * Return the plan of a statement, prepared and planned under our settings.
 */
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

/*
 * Keep SPI from making custom plans until seckill_plan_end_generic().  A
 * caller that has set plan_cache_mode to force_custom_plan would otherwise
 * have one made for each of our statements, under its own settings.  Triggers
 * of the application run without custom plans meanwhile, too.  Returns the GUC
 * nest level, or 0 if there was nothing to set.
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
 * Run a statement on many items under the transaction's snapshot.  Returns the
 * number of rows processed.
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

/*
 * Run a statement on one item, its first argument, under the transaction's
 * snapshot, and tell the triggers that it is ours.  Returns the number of rows
 * processed.
 */
uint64
seckill_plan_run(SqlPlan *plan, Datum *args)
{
	uint64		processed;

	seckill_change_begin_own(DatumGetInt64(args[0]));
	processed = seckill_plan_run_many(plan, args);
	seckill_change_end_own();
	return processed;
}

/* The same, as the owner of a table other than seckill.items. */
uint64
seckill_plan_run_as(SqlPlan *plan, Datum *args, Oid owner)
{
	TableCaller caller;
	uint64		processed;

	seckill_table_switch_user(owner, &caller);
	processed = seckill_plan_run(plan, args);
	seckill_table_restore_user(&caller);
	return processed;
}

/*
 * Run a SELECT, as the owner of its table, under the latest snapshot: it sees
 * the latest committed rows and our own.  Locks both tables before it takes
 * the snapshot.  Returns the number of rows.
 */
uint64
seckill_plan_run_latest(SqlPlan *plan, Datum *args, Oid owner)
{
	TableCaller caller;
	SPIPlanPtr	saved;
	Snapshot	snapshot;
	int			nest;
	int			rc;

	seckill_table_switch_user(owner, &caller);
	seckill_relation_lock_to_read();
	saved = seckill_plan_get(plan);
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	nest = seckill_plan_begin_generic();
	rc = SPI_execute_snapshot(saved, args, NULL, snapshot, InvalidSnapshot,
							  true, false, 0);
	seckill_plan_end_generic(nest);
	SECKILL_FAULT("statement run as owner");
	seckill_table_restore_user(&caller);
	UnregisterSnapshot(snapshot);
	if (rc < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s",
			 SPI_result_code_string(rc));
	return SPI_processed;
}

/*
 * Run a SELECT, as the owner of its table, under the snapshot of the statement
 * that runs.  Returns the number of rows.
 */
uint64
seckill_plan_run_as_of_statement(SqlPlan *plan, Datum *args, Oid owner)
{
	TableCaller caller;
	int			nest;
	int			rc;

	seckill_table_switch_user(owner, &caller);
	nest = seckill_plan_begin_generic();
	rc = SPI_execute_plan(seckill_plan_get(plan), args, NULL, true, 0);
	seckill_plan_end_generic(nest);
	seckill_table_restore_user(&caller);
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}


/*
 * Results
 */

/* A column of row i of the last result; if_null for a NULL. */
Datum
seckill_plan_result_column(uint64 i, int number, Datum if_null)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[i],
									  SPI_tuptable->tupdesc, number, &isnull);

	return isnull ? if_null : value;
}

/*
 * Copy the columns of the one row of the last result to where they outlive
 * seckill_table_end(), and free the result.
 */
void
seckill_plan_copy_columns(Datum *values, bool *nulls)
{
	HeapTuple	tuple = SPI_copytuple(SPI_tuptable->vals[0]);

	heap_deform_tuple(tuple, SPI_tuptable->tupdesc, values, nulls);
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Run a SELECT of one time as seckill_plan_run_latest() does.  Returns the
 * time of the first row, or DT_NOEND if there is no row.
 */
TimestampTz
seckill_plan_first_time(SqlPlan *plan, Datum *args, Oid owner)
{
	TimestampTz time = DT_NOEND;

	if (seckill_plan_run_latest(plan, args, owner) > 0)
		time = DatumGetTimestampTz(seckill_plan_result_column(0, 1, 0));
	SPI_freetuptable(SPI_tuptable);
	return time;
}


/*
 * Arrays, the arguments of statements on many rows
 */

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

Datum
seckill_plan_multirange_array(Datum *values, int n)
{
	return PointerGetDatum(construct_array(values, n, INT8MULTIRANGEOID, -1,
										   false, TYPALIGN_DOUBLE));
}

/* A one-dimensional array whose elements may be NULL. */
Datum
seckill_plan_array_with_nulls(Datum *values, bool *nulls, int n, Oid type, int length,
							  bool by_value, char align)
{
	int			lower = 1;

	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower,
											  type, length, by_value, align));
}
