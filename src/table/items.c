/*
 * ledger.c
 *		Every statement on seckill.items and seckill.orders, and their plans.
 *
 * Statements run between seckill_ledger_begin() and seckill_ledger_end() as
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

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "seckill.h"

typedef enum PlanId
{
	PLAN_LOCK,
	PLAN_TRY_LOCK,
	PLAN_TRY_LOCK_MANY,
	PLAN_SELL,
	PLAN_SELL_VERSION,
	PLAN_SELL_LOCKED,
	PLAN_SELL_MANY,
	PLAN_OVERWRITE,
	PLAN_LEASE,
	PLAN_GIVE_BACK,
	PLAN_RETURN,
	PLAN_CLOSE,
	PLAN_SOLD_ON_LEASE,
	PLAN_ORDER,
	PLAN_ORDERS,
	PLAN_CONFIRM,
	PLAN_CONFIRM_LATE,
	PLAN_CANCEL,
	PLAN_EXPIRE,
	PLAN_LOCK_ORDER,
	PLAN_HAS_ORDER,
	PLAN_OVERDUE,
	PLAN_NEXT_PAY_BY,
	PLAN_OPENING,
	PLAN_NEXT_OPENING,
	PLAN_LIMIT_ORDERS,
	PLAN_SUPPLY,
	PLAN_WRITE_OFF,
	PLAN_INSERT_ITEM,
	PLAN_CHANGE_ITEM,
	PLAN_READ_ITEM,
	PLAN_READ_ORDER,
	PLAN_HAS_ORDERS,
	PLAN_ANY_LEASE,
	PLAN_ANY_ORDER
} PlanId;

#define PLANS		(PLAN_ANY_ORDER + 1)
#define MAX_ARGS	11

/* Stand for our own types, whose OIDs are known at run time only. */
#define MODE_TYPE	InvalidOid
#define STATE_TYPE	((Oid) 1)

typedef struct Statement
{
	const char *sql;
	int			nargs;
	Oid			types[MAX_ARGS];
} Statement;

#define EQ		" OPERATOR(pg_catalog.=) "
#define NE		" OPERATOR(pg_catalog.<>) "
#define GE		" OPERATOR(pg_catalog.>=) "
#define GT		" OPERATOR(pg_catalog.>) "
#define LE		" OPERATOR(pg_catalog.<=) "
#define PLUS	" OPERATOR(pg_catalog.+) "
#define MINUS	" OPERATOR(pg_catalog.-) "
#define XOR		" OPERATOR(pg_catalog.#) "

#define ORDER_COLUMNS \
	"item_id, order_id, user_id, quantity, request_id, limited, mode," \
	" lease_id, pay_by, state"

/* The settings of an item, in the order of ItemSetting. */
#define SETTING_COLUMNS \
	"title, starts_at, ends_at, per_user_limit, require_token, pay_within," \
	" user_rate, user_burst, max_waiters"
#define SETTING_TYPES \
	TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, BOOLOID, INTERVALOID, \
	FLOAT4OID, INT4OID, INT4OID

#define ONE_ORDER	"item_id" EQ "$1 AND order_id" EQ "$2"

#define LOCK_ITEM \
	"SELECT i.xmin, i.* FROM seckill.items i" \
	" WHERE i.item_id" EQ "$1 FOR NO KEY UPDATE"

#define SELL_UNITS \
	"UPDATE seckill.items SET stock = stock" MINUS "$2," \
	" version = version" PLUS "1" \
	" WHERE item_id" EQ "$1 AND stock" GE "$2"

static const Statement statements[PLANS] = {
	[PLAN_LOCK] = {LOCK_ITEM, 1, {INT8OID}},
	[PLAN_TRY_LOCK] = {LOCK_ITEM " SKIP LOCKED", 1, {INT8OID}},
	[PLAN_TRY_LOCK_MANY] = {
		"SELECT i.xmin, i.*"
		" FROM pg_catalog.unnest($1) AS u(id)"
		" JOIN seckill.items i ON i.item_id" EQ "u.id"
		" FOR NO KEY UPDATE OF i SKIP LOCKED",
		1, {INT8ARRAYOID}
	},
	[PLAN_SELL] = {SELL_UNITS, 2, {INT8OID, INT4OID}},
	[PLAN_SELL_VERSION] = {
		SELL_UNITS " AND version" EQ "$3", 3, {INT8OID, INT4OID, INT8OID}
	},
	[PLAN_SELL_LOCKED] = {
		"UPDATE seckill.items SET stock = stock" MINUS "$2,"
		" leased = leased" MINUS "$3, version = version" PLUS "1"
		" WHERE item_id" EQ "$1 AND stock" GE "$2 AND leased" GE "$3",
		3, {INT8OID, INT4OID, INT4OID}
	},
	[PLAN_SELL_MANY] = {
		"UPDATE seckill.items i SET stock = i.stock" MINUS "u.units,"
		" version = i.version" PLUS "1"
		" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))"
		" AS u(id, units)"
		" WHERE i.item_id" EQ "u.id AND i.stock" GE "u.units",
		2, {INT8ARRAYOID, INT4ARRAYOID}
	},
	[PLAN_OVERWRITE] = {
		"UPDATE seckill.items SET stock = $2, version = version" PLUS "1"
		" WHERE item_id" EQ "$1",
		2, {INT8OID, INT4OID}
	},
	[PLAN_LEASE] = {
		"UPDATE seckill.items SET stock = stock" MINUS "$2,"
		" leased = leased" PLUS "$2, lease_id = $3,"
		" version = version" PLUS "1, seal = $4" XOR "supplied"
		" WHERE item_id" EQ "$1 AND stock" GE "$2"
		" AND (leased" EQ "0 OR lease_id" EQ "$3)",
		4, {INT8OID, INT4OID, INT8OID, INT8OID}
	},
	[PLAN_GIVE_BACK] = {
		"UPDATE seckill.items SET stock = stock" PLUS "$2,"
		" leased = leased" MINUS "$2, version = version" PLUS "1"
		" WHERE item_id" EQ "$1",
		2, {INT8OID, INT4OID}
	},
	[PLAN_RETURN] = {
		"UPDATE seckill.items SET stock = stock" PLUS "$2,"
		" version = version" PLUS "1"
		" WHERE item_id" EQ "$1",
		2, {INT8OID, INT4OID}
	},
	[PLAN_CLOSE] = {
		"UPDATE seckill.items SET stock = stock" PLUS "$2,"
		" leased = 0, lease_id = NULL, version = version" PLUS "1,"
		" seal = $3" XOR "supplied"
		" WHERE item_id" EQ "$1",
		3, {INT8OID, INT4OID, INT8OID}
	},
	[PLAN_SOLD_ON_LEASE] = {
		"SELECT pg_catalog.sum(quantity) FROM seckill.orders"
		" WHERE item_id" EQ "$1 AND lease_id" EQ "$2",
		2, {INT8OID, INT8OID}
	},
	[PLAN_ORDER] = {
		"INSERT INTO seckill.orders (" ORDER_COLUMNS ")"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		10, {INT8OID, INT8OID, INT8OID, INT4OID, UUIDOID, BOOLOID, MODE_TYPE,
		INT8OID, TIMESTAMPTZOID, STATE_TYPE}
	},
	[PLAN_ORDERS] = {
		"INSERT INTO seckill.orders (" ORDER_COLUMNS ")"
		" SELECT u.item_id, u.order_id, u.user_id, u.quantity, u.request_id,"
		" u.limited, $7, $8, u.pay_by,"
		" CASE WHEN u.pay_by IS NULL THEN $10 ELSE $11 END"
		" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2),"
		" pg_catalog.unnest($3), pg_catalog.unnest($4),"
		" pg_catalog.unnest($5), pg_catalog.unnest($6),"
		" pg_catalog.unnest($9))"
		" AS u(item_id, order_id, user_id, quantity, request_id, limited,"
		" pay_by)",
		11, {INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID,
		UUIDARRAYOID, BOOLARRAYOID, MODE_TYPE, INT8OID, TIMESTAMPTZARRAYOID,
		STATE_TYPE, STATE_TYPE}
	},
	[PLAN_CONFIRM] = {
		"UPDATE seckill.orders SET state = 'confirmed'"
		" WHERE " ONE_ORDER " AND state" EQ "$3 RETURNING state",
		3, {INT8OID, INT8OID, STATE_TYPE}
	},
	[PLAN_CONFIRM_LATE] = {
		"UPDATE seckill.orders SET state = 'confirmed', limited = $3"
		" WHERE " ONE_ORDER " RETURNING state",
		3, {INT8OID, INT8OID, BOOLOID}
	},
	[PLAN_CANCEL] = {
		"UPDATE seckill.orders SET state = 'cancelled', limited = false"
		" WHERE " ONE_ORDER " RETURNING state",
		2, {INT8OID, INT8OID}
	},
	[PLAN_EXPIRE] = {
		"WITH late AS MATERIALIZED ("
		"SELECT ctid FROM seckill.orders"
		" WHERE item_id" EQ "$1 AND order_id" EQ "ANY ($2)"
		" AND state" EQ "$4 AND pay_by" LE "$3"
		" FOR NO KEY UPDATE SKIP LOCKED)"
		" UPDATE seckill.orders o SET state = 'expired', limited = false"
		" FROM late WHERE o.ctid" EQ "late.ctid"
		" RETURNING o.state, o.quantity",
		4, {INT8OID, INT8ARRAYOID, TIMESTAMPTZOID, STATE_TYPE}
	},
	[PLAN_LOCK_ORDER] = {
		"SELECT user_id, quantity, state FROM seckill.orders"
		" WHERE " ONE_ORDER " FOR NO KEY UPDATE",
		2, {INT8OID, INT8OID}
	},
	[PLAN_HAS_ORDER] = {
		"SELECT 1 FROM seckill.orders WHERE " ONE_ORDER, 2, {INT8OID, INT8OID}
	},
	[PLAN_OVERDUE] = {
		"SELECT item_id, order_id FROM seckill.orders"
		" WHERE state" EQ "'pending' AND pay_by" LE "$1"
		" AND item_id" NE "ALL ($2)"
		" ORDER BY pay_by OFFSET $3 LIMIT $4",
		4, {TIMESTAMPTZOID, INT8ARRAYOID, INT8OID, INT8OID}
	},
	[PLAN_NEXT_PAY_BY] = {
		"SELECT pay_by FROM seckill.orders"
		" WHERE state" EQ "'pending' AND pay_by" GT "$1"
		" ORDER BY pay_by LIMIT 1",
		1, {TIMESTAMPTZOID}
	},
	[PLAN_OPENING] = {
		"SELECT item_id FROM seckill.items"
		" WHERE starts_at" GT "$1 AND starts_at" LE "$2"
		" ORDER BY starts_at LIMIT $3",
		3, {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID}
	},
	[PLAN_NEXT_OPENING] = {
		"SELECT starts_at FROM seckill.items WHERE starts_at" GT "$1"
		" ORDER BY starts_at LIMIT 1",
		1, {TIMESTAMPTZOID}
	},
	[PLAN_LIMIT_ORDERS] = {
		"UPDATE seckill.orders SET limited = true"
		" WHERE item_id" EQ "$1 AND NOT limited"
		" AND state" EQ "ANY ('{pending,confirmed}')",
		1, {INT8OID}
	},
	[PLAN_SUPPLY] = {
		"UPDATE seckill.items SET supplied = supplied" PLUS "$2,"
		" version = version" PLUS "1,"
		" seal = seal" XOR "supplied" XOR "(supplied" PLUS "$2)"
		" WHERE item_id" EQ "$1",
		2, {INT8OID, INT8OID}
	},
	[PLAN_WRITE_OFF] = {
		"UPDATE seckill.items SET supplied = supplied" MINUS "$2,"
		" version = version" PLUS "1,"
		" seal = $3" XOR "(supplied" MINUS "$2)"
		" WHERE item_id" EQ "$1",
		3, {INT8OID, INT8OID, INT8OID}
	},
	[PLAN_INSERT_ITEM] = {
		"INSERT INTO seckill.items (item_id, " SETTING_COLUMNS ", stock)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
		" ON CONFLICT (item_id) DO NOTHING",
		11, {INT8OID, SETTING_TYPES, INT4OID}
	},
	[PLAN_CHANGE_ITEM] = {
		"UPDATE seckill.items SET title = $2, starts_at = $3, ends_at = $4,"
		" per_user_limit = $5, require_token = $6, pay_within = $7,"
		" user_rate = $8, user_burst = $9, max_waiters = $10"
		" WHERE item_id" EQ "$1",
		10, {INT8OID, SETTING_TYPES}
	},
	[PLAN_READ_ITEM] = {
		"SELECT " SETTING_COLUMNS ", stock, leased, lease_id"
		" FROM seckill.items WHERE item_id" EQ "$1",
		1, {INT8OID}
	},
	[PLAN_READ_ORDER] = {
		"SELECT user_id, quantity, state, created_at, pay_by, mode, request_id"
		" FROM seckill.orders WHERE " ONE_ORDER,
		2, {INT8OID, INT8OID}
	},
	[PLAN_HAS_ORDERS] = {
		"SELECT 1 FROM seckill.orders WHERE item_id" EQ "$1 LIMIT 1",
		1, {INT8OID}
	},
	[PLAN_ANY_LEASE] = {
		"SELECT 1 FROM seckill.items WHERE leased" GT "0 LIMIT 1", 0, {0}
	},
	[PLAN_ANY_ORDER] = {"SELECT 1 FROM seckill.orders LIMIT 1", 0, {0}},
};

static SPIPlanPtr plans[PLANS];
static int	generations[PLANS]; /* of the plans that replan() made */
static Oid	plans_items = InvalidOid;	/* incarnation the plans are for */


/*
 * Become the owner and open SPI.  *caller keeps who called, for the matching
 * seckill_ledger_end(); pairs nest, as a trigger on orders may buy.
 */
void
seckill_ledger_begin(LedgerCaller *caller)
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
seckill_ledger_end(const LedgerCaller *caller)
{
	SetUserIdAndSecContext(caller->user, caller->context);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}


/* Is somebody who uses SPI around the call that runs? */
bool
seckill_ledger_is_nested(void)
{
	return SPI_unregister_relation("") != SPI_ERROR_UNCONNECTED;
}


/*
 * Plans
 */

/* DROP and CREATE EXTENSION gave the types and tables new OIDs. */
static void
forget_plans(Oid items)
{
	for (int i = 0; i < PLANS; i++)
	{
		if (plans[i] != NULL)
			SPI_freeplan(plans[i]);
		plans[i] = NULL;
	}
	plans_items = items;
}

static void
prepare(PlanId id)
{
	const SeckillCatalog *c = seckill_catalog();
	const Statement *stmt = &statements[id];
	Oid			types[MAX_ARGS];
	SPIPlanPtr	plan;

	for (int i = 0; i < stmt->nargs; i++)
	{
		types[i] = stmt->types[i];
		if (types[i] == MODE_TYPE)
			types[i] = c->mode_type;
		else if (types[i] == STATE_TYPE)
			types[i] = c->state_type;
	}
	plan = SPI_prepare_cursor(stmt->sql, stmt->nargs, types,
							  CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	plans[id] = plan;
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
source_of(PlanId id)
{
	return linitial(SPI_plan_get_plan_sources(plans[id]));
}

/* Make the plan under our settings, and put away one made under others. */
static void
replan(PlanId id)
{
	CachedPlanSource *source = source_of(id);
	int			nest = NewGUCNestLevel();

	for (int i = 0; i < (int) lengthof(planner_settings); i++)
		set_locally(planner_settings[i][0], planner_settings[i][1]);
	if (source->gplan != NULL)
		source->gplan->is_valid = false;
	ReleaseCachedPlan(SPI_plan_get_cached_plan(plans[id]),
					  CurrentResourceOwner);
	generations[id] = source->gplan->generation;
	AtEOXact_GUC(true, nest);
}

/*
 * Will SPI use the plan that we have made?  It makes another for each of these
 * reasons, under the settings of the caller.  If one arose after we asked, as it
 * locked the tables, the number of the plan tells next time.
 */
static bool
is_planned(PlanId id)
{
	CachedPlanSource *source = source_of(id);
	CachedPlan *generic = source->gplan;

	return source->is_valid && generic != NULL && generic->is_valid &&
		generic->generation == generations[id] &&
		SeckillSearchPathMatches(source->search_path) &&
		(!source->dependsOnRLS ||
		 (source->rewriteRoleId == GetUserId() &&
		  source->rewriteRowSecurity == row_security)) &&
		(!generic->dependsOnRole || generic->planRoleId == GetUserId()) &&
		(!TransactionIdIsValid(generic->saved_xmin) ||
		 TransactionIdEquals(generic->saved_xmin, TransactionXmin));
}

/* The plan of a statement, ready to run. */
static SPIPlanPtr
get_plan(PlanId id)
{
	Oid			items = seckill_catalog()->items;

	if (plans_items != items)
		forget_plans(items);
	if (plans[id] == NULL)
		prepare(id);
	if (!is_planned(id))
		replan(id);
	SECKILL_FAULT("statement planned");
	return plans[id];
}


/*
 * Running
 */

/* Run as another user for a while; *self keeps who we are. */
static void
become(Oid user, LedgerCaller *self)
{
	GetUserIdAndSecContext(&self->user, &self->context);
	SetUserIdAndSecContext(user, self->context);
}

/*
 * A caller who wants custom plans (plan_cache_mode) would have one made for each
 * statement of ours, under settings of its own: not until end_generic().
 * Triggers of the application's run their statements without custom plans
 * meanwhile.  Returns the GUC nest level, or 0 if nothing was to be done.
 */
static int
begin_generic(void)
{
	int			nest;

	if (likely(plan_cache_mode != PLAN_CACHE_MODE_FORCE_CUSTOM_PLAN))
		return 0;
	nest = NewGUCNestLevel();
	set_locally("plan_cache_mode", "auto");
	return nest;
}

static void
end_generic(int nest)
{
	if (nest > 0)
		AtEOXact_GUC(true, nest);
}

/*
 * Run a statement on many items under the transaction's snapshot; the number
 * of rows it made.
 */
static uint64
run_many(PlanId id, Datum *args)
{
	int			nest = begin_generic();
	int			rc = SPI_execute_plan(get_plan(id), args, NULL, false, 0);

	end_generic(nest);
	SECKILL_FAULT("statement run");
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

/* The same on one item, the first argument. */
static uint64
run(PlanId id, Datum *args)
{
	uint64		processed;

	seckill_xact_begin_own(DatumGetInt64(args[0]));
	processed = run_many(id, args);
	seckill_xact_end_own();
	return processed;
}

/*
 * Run a SELECT, as the owner of its table, that sees the newest committed rows
 * and our own.  The tables are locked before the snapshot is taken.
 */
static uint64
run_latest(PlanId id, Datum *args, Oid owner)
{
	LedgerCaller caller;
	SPIPlanPtr	plan;
	Snapshot	snapshot;
	int			nest;
	int			rc;

	become(owner, &caller);
	LockRelationOid(seckill_catalog()->items, AccessShareLock);
	LockRelationOid(seckill_catalog()->orders, AccessShareLock);
	plan = get_plan(id);
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	nest = begin_generic();
	rc = SPI_execute_snapshot(plan, args, NULL, snapshot, InvalidSnapshot,
							  true, false, 0);
	end_generic(nest);
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

/* Positions of columns in seckill.items, as the extension script has them. */
enum
{
	ITEM_ITEM_ID = 1,
	ITEM_STOCK = 3,
	ITEM_VERSION = 4,
	ITEM_LEASED = 5,
	ITEM_LEASE_ID = 6,
	ITEM_SUPPLIED = 7,
	ITEM_STARTS_AT = 8,
	ITEM_ENDS_AT = 9,
	ITEM_PER_USER_LIMIT = 10,
	ITEM_REQUIRE_TOKEN = 11,
	ITEM_PAY_WITHIN = 12,
	ITEM_USER_RATE = 13,
	ITEM_USER_BURST = 14,
	ITEM_MAX_WAITERS = 15
};

#define ITEM_COLUMNS	ITEM_MAX_WAITERS

/* The columns of a row of seckill.items, in this order. */
typedef struct ItemColumns
{
	const Datum *values;
	const bool *nulls;
} ItemColumns;

/* A column; if_null for a NULL. */
static Datum
item_column(const ItemColumns *c, int column, Datum if_null)
{
	return c->nulls[column - 1] ? if_null : c->values[column - 1];
}

static void
read_rules(const ItemColumns *c, SaleRules *rules)
{
	rules->starts_at =
		DatumGetTimestampTz(item_column(c, ITEM_STARTS_AT,
										TimestampTzGetDatum(DT_NOBEGIN)));
	rules->ends_at =
		DatumGetTimestampTz(item_column(c, ITEM_ENDS_AT,
										TimestampTzGetDatum(DT_NOEND)));
	rules->per_user_limit =
		DatumGetInt32(item_column(c, ITEM_PER_USER_LIMIT, 0));
	rules->require_token =
		DatumGetBool(item_column(c, ITEM_REQUIRE_TOKEN, 0));
	rules->pay_within = c->nulls[ITEM_PAY_WITHIN - 1] ? 0 :
		seckill_microseconds(DatumGetIntervalP(c->values[ITEM_PAY_WITHIN - 1]));
	rules->user_rate =
		DatumGetFloat4(item_column(c, ITEM_USER_RATE, Float4GetDatum(-1)));
	rules->user_burst = DatumGetInt32(item_column(c, ITEM_USER_BURST, 0));
	rules->max_waiters =
		DatumGetInt32(item_column(c, ITEM_MAX_WAITERS, Int32GetDatum(-1)));
}

static void
read_item_row(const ItemColumns *c, TransactionId xmin, ItemRow *row)
{
	row->stock = DatumGetInt32(item_column(c, ITEM_STOCK, 0));
	row->version = DatumGetInt64(item_column(c, ITEM_VERSION, 0));
	row->leased = DatumGetInt32(item_column(c, ITEM_LEASED, 0));
	row->lease_id = DatumGetInt64(item_column(c, ITEM_LEASE_ID,
											  Int64GetDatum(0)));
	row->supplied = DatumGetInt64(item_column(c, ITEM_SUPPLIED,
											  Int64GetDatum(0)));
	read_rules(c, &row->rules);
	row->mine = TransactionIdIsCurrentTransactionId(xmin);
}

static void
read_slot(TupleTableSlot *slot, ItemRow *row)
{
	ItemColumns columns = {slot->tts_values, slot->tts_isnull};
	bool		isnull;
	Datum		xmin = slot_getsysattr(slot, MinTransactionIdAttributeNumber,
									   &isnull);

	slot_getsomeattrs(slot, ITEM_COLUMNS);
	read_item_row(&columns, DatumGetTransactionId(xmin), row);
}

/*
 * Fetch the row by its key from the table, which is open.  The key is unlocked
 * again if unlock says so, not if that is NoLock.
 */
static bool
fetch_item(Relation items, int64 item_id, Snapshot snapshot, ItemRow *row,
		   LOCKMODE unlock)
{
	Relation	key = index_open(seckill_catalog()->items_key,
								 AccessShareLock);
	TupleTableSlot *slot = table_slot_create(items, NULL);
	IndexScanDesc scan;
	ScanKeyData equal;
	bool		found;

	ScanKeyInit(&equal, 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	scan = SeckillIndexBeginScan(items, key, snapshot, 1);
	index_rescan(scan, &equal, 1, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, slot);
	if (found)
		read_slot(slot, row);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(key, unlock);
	return found;
}

/*
 * Open seckill.items and lock it against TRUNCATE and the like until commit.
 * A snapshot to read it with must be taken after that.
 */
static Relation
open_items(void)
{
	CommandCounterIncrement();
	return table_open(seckill_catalog()->items, AccessShareLock);
}

/*
 * Read the row under a snapshot taken once the table is open.  unlock is the
 * lock to give up at the end, AccessShareLock or NoLock.
 */
static bool
read_item(int64 item_id, Snapshot (*take_snapshot) (void), ItemRow *row,
		  LOCKMODE unlock)
{
	Relation	items = open_items();
	Snapshot	snapshot = RegisterSnapshot(take_snapshot());
	bool		found = fetch_item(items, item_id, snapshot, row, unlock);

	SECKILL_FAULT("row read");
	UnregisterSnapshot(snapshot);
	table_close(items, unlock);
	return found;
}

/*
 * For transactions that change orders first: TRUNCATE of both tables locks them
 * in this order, too.
 */
void
seckill_ledger_lock_items(void)
{
	LockRelationOid(seckill_catalog()->items, RowExclusiveLock);
}

/*
 * The newest committed row, or our own change of it.  Needs no
 * seckill_ledger_begin().
 */
bool
seckill_ledger_peek(int64 item_id, ItemRow *row)
{
	return read_item(item_id, GetLatestSnapshot, row, NoLock);
}

/*
 * The same for one who is going to wait without a lock that others see: keeps
 * no lock on table and key either, whichever key it has by now.
 */
bool
seckill_ledger_glimpse(int64 item_id, ItemRow *row)
{
	return read_item(item_id, GetLatestSnapshot, row, AccessShareLock);
}

/* Does this transaction have one of the tables locked? */
bool
seckill_ledger_has_lock(void)
{
	return seckill_lock_has_table(seckill_catalog()->items) ||
		seckill_lock_has_table(seckill_catalog()->orders);
}

/* The row as the transaction's snapshot sees it, or a new one's. */
bool
seckill_ledger_read(int64 item_id, ItemRow *row)
{
	return read_item(item_id, GetTransactionSnapshot, row, NoLock);
}

/* A column of a row of the last result; if_null for a NULL. */
static Datum
result_column(uint64 i, int number, Datum if_null)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[i],
									  SPI_tuptable->tupdesc, number, &isnull);

	return isnull ? if_null : value;
}

/*
 * Row i of the result of one of the locking SELECTs: xmin, then the columns of
 * the table.  Returns which item it is.
 */
static int64
read_locked(uint64 i, ItemRow *row)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));
	ItemColumns columns = {values + 1, nulls + 1};
	int64		item_id;

	heap_deform_tuple(SPI_tuptable->vals[i], desc, values, nulls);
	read_item_row(&columns, DatumGetTransactionId(values[0]), row);
	item_id = DatumGetInt64(item_column(&columns, ITEM_ITEM_ID, 0));
	pfree(values);
	pfree(nulls);
	return item_id;
}

/* Run one of the SELECTs that lock one item. */
static bool
lock_item(PlanId id, int64 item_id, ItemRow *row)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	uint64		found = run(id, args);

	/* now that the table is locked: its columns are as we know them */
	(void) seckill_catalog();
	if (found == 0)
		return false;
	(void) read_locked(0, row);
	SPI_freetuptable(SPI_tuptable);
	SECKILL_FAULT("row locked");
	seckill_xact_note_row(item_id, ROW_LOCKED);
	return true;
}

void
seckill_ledger_unserializable(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update"),
			 errhint("The transaction might succeed if retried.")));
}

/*
 * Lock the row, waiting for whoever has it; then read it.  Who
 * waited for a DELETE looks again: the item may have been inserted anew.  A
 * snapshot that cannot see that is too old.  No such item: an error.
 */
void
seckill_ledger_lock(int64 item_id, ItemRow *row)
{
	while (!lock_item(PLAN_LOCK, item_id, row))
	{
		CHECK_FOR_INTERRUPTS();
		if (!seckill_ledger_peek(item_id, row))
			seckill_unknown_item(item_id);
		if (IsolationUsesXactSnapshot())
			seckill_ledger_unserializable();
	}
}

/* The same, or false at once if someone else has it locked. */
bool
seckill_ledger_try_lock(int64 item_id, ItemRow *row)
{
	return lock_item(PLAN_TRY_LOCK, item_id, row);
}

/* Make arrays for statements on many rows. */
static Datum
int8_array(Datum *values, int n)
{
	return PointerGetDatum(construct_array(values, n, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static Datum
int4_array(Datum *values, int n)
{
	return PointerGetDatum(construct_array(values, n, INT4OID, sizeof(int32),
										   true, TYPALIGN_INT));
}

/* Where id is in an ascending array that has it. */
static int
position(const int64 *ids, int n, int64 id)
{
	int			low = 0;
	int			high = n - 1;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Lock those rows of the given items that nobody else has locked.  item_ids
 * ascends; locked[i] tells of rows[i].
 */
void
seckill_ledger_try_lock_many(const int64 *item_ids, int n, ItemRow *rows,
							 bool *locked)
{
	Datum	   *ids;
	Datum		args[1];
	uint64		found;

	if (n == 1)
	{
		locked[0] = seckill_ledger_try_lock(item_ids[0], &rows[0]);
		return;
	}
	memset(locked, 0, n * sizeof(bool));
	ids = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(item_ids[i]);
	args[0] = int8_array(ids, n);
	found = run_many(PLAN_TRY_LOCK_MANY, args);
	(void) seckill_catalog();
	for (uint64 i = 0; i < found; i++)
	{
		ItemRow		row;
		int64		id = read_locked(i, &row);
		int			at = position(item_ids, n, id);

		rows[at] = row;
		locked[at] = true;
		seckill_xact_note_row(id, ROW_LOCKED);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Which of the rows could be locked at once?  None is locked when it returns:
 * that is left to a subtransaction, which is rolled back.
 */
void
seckill_ledger_probe_many(const int64 *item_ids, int n, bool *unlocked)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ItemRow    *rows = palloc(n * sizeof(ItemRow));

	BeginInternalSubTransaction(NULL);
	seckill_ledger_try_lock_many(item_ids, n, rows, unlocked);
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	pfree(rows);
}

/* Run an UPDATE of a row that the caller has locked. */
static void
update_locked(PlanId id, Datum *args)
{
	if (run(id, args) != 1)
		elog(ERROR, "row of item " INT64_FORMAT " is not as it was locked",
			 DatumGetInt64(args[0]));
	seckill_xact_note_row(DatumGetInt64(args[0]), ROW_LOCKED);
}

/* Run an UPDATE that sells; did it? */
static bool
sell(PlanId id, Datum *args)
{
	bool		sold = run(id, args) > 0;

	if (sold)
		seckill_xact_note_row(DatumGetInt64(args[0]), ROW_LOCKED);
	return sold;
}

/* Sell units of the row's stock, if it has them. */
bool
seckill_ledger_sell(int64 item_id, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units)};

	return sell(PLAN_SELL, args);
}

/* The same, if the row still has the given version. */
bool
seckill_ledger_sell_version(int64 item_id, int32 units, int64 version)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units),
	Int64GetDatum(version)};

	return sell(PLAN_SELL_VERSION, args);
}

/* Sell units of a locked row, and units of its lease that the caller holds. */
void
seckill_ledger_sell_locked(int64 item_id, int32 from_row, int32 from_lease)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(from_row),
	Int32GetDatum(from_lease)};

	update_locked(PLAN_SELL_LOCKED, args);
}

/* Sell units of several locked rows; the items differ. */
void
seckill_ledger_sell_many(const int64 *item_ids, const int32 *units, int n)
{
	Datum	   *columns[2];
	Datum		args[2];
	uint64		processed;

	if (n == 1)
	{
		seckill_ledger_sell_locked(item_ids[0], units[0], 0);
		return;
	}
	columns[0] = palloc(n * sizeof(Datum));
	columns[1] = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		columns[0][i] = Int64GetDatum(item_ids[i]);
		columns[1][i] = Int32GetDatum(units[i]);
	}
	args[0] = int8_array(columns[0], n);
	args[1] = int4_array(columns[1], n);
	seckill_xact_begin_own(0);
	processed = run_many(PLAN_SELL_MANY, args);
	seckill_xact_end_own();
	if (processed != (uint64) n)
		elog(ERROR, "rows of a batch are not as they were locked");
}

/* Write back a stock computed from what was read: the mistake of mode none. */
void
seckill_ledger_overwrite(int64 item_id, int32 stock)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(stock)};

	(void) run(PLAN_OVERWRITE, args);
	seckill_xact_note_row(item_id, ROW_CHANGED);
}

/*
 * The seal of a row: a number that tells a row that the extension has written
 * from one that somebody made up, see guard.c.  No secret, and the same on
 * every platform, as rows are dumped on one and restored on another.  Sealed
 * are the item and its lease, by the finaliser of SplitMix64, and the units
 * supplied, by XOR, so that a statement can seal what it reads.
 */
static uint64
scramble(uint64 x)
{
	x = (x ^ (x >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

int64
seckill_ledger_seal(int64 item_id, int64 lease_id, int64 supplied)
{
	uint64		x = scramble((uint64) item_id + UINT64CONST(0x9e3779b97f4a7c15));

	return (int64) (scramble(x + (uint64) lease_id) ^ (uint64) supplied);
}

/* The argument of a statement that seals the units supplied itself. */
static Datum
seal_argument(int64 item_id, int64 lease_id)
{
	return Int64GetDatum(seckill_ledger_seal(item_id, lease_id, 0));
}

/* Move units of a locked row from its stock to a lease. */
void
seckill_ledger_lease(int64 item_id, int32 units, int64 lease_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units),
	Int64GetDatum(lease_id), seal_argument(item_id, lease_id)};

	update_locked(PLAN_LEASE, args);
}

/* Move units of a locked row from its lease to its stock. */
void
seckill_ledger_give_back(int64 item_id, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units)};

	update_locked(PLAN_GIVE_BACK, args);
	seckill_xact_note_row(item_id, ROW_CHANGED);
}

/* Put units of orders back on sale, on a locked row. */
void
seckill_ledger_return(int64 item_id, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units)};

	update_locked(PLAN_RETURN, args);
	seckill_xact_note_row(item_id, ROW_CHANGED);
}

/* Give units of the lease back, and close it: the rest of it is sold. */
void
seckill_ledger_close(int64 item_id, int32 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units),
	seal_argument(item_id, 0)};

	update_locked(PLAN_CLOSE, args);
	seckill_xact_note_row(item_id, ROW_CHANGED);
}

/* Add to the units ever supplied. */
void
seckill_ledger_supply(int64 item_id, int64 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(units)};

	(void) run(PLAN_SUPPLY, args);
}

/* Take units from those ever supplied, on a locked row, and seal it anew. */
void
seckill_ledger_write_off(int64 item_id, int64 units, int64 lease_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(units),
	seal_argument(item_id, lease_id)};

	update_locked(PLAN_WRITE_OFF, args);
}

/*
 * Items and orders as a whole, see item.c
 */

/*
 * Run a statement that writes what an administrator could write; the triggers
 * follow it up in the same way.  The arguments are an item, its settings, and
 * for a new one the stock.  Returns how many rows it made.
 */
static uint64
run_as_administrator(PlanId id, int64 item_id, const ItemDetails *item)
{
	Datum		args[ITEM_SETTINGS + 2];
	char		nulls[ITEM_SETTINGS + 2];
	int			nest = begin_generic();
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
	rc = SPI_execute_plan(get_plan(id), args, nulls, false, 0);
	end_generic(nest);
	SECKILL_FAULT("item written");
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

/* Insert an item with its settings and stock, unless there is one. */
bool
seckill_ledger_insert_item(int64 item_id, const ItemDetails *item)
{
	return run_as_administrator(PLAN_INSERT_ITEM, item_id, item) > 0;
}

/* Write the settings of a locked item. */
void
seckill_ledger_change_item(int64 item_id, const ItemDetails *item)
{
	if (run_as_administrator(PLAN_CHANGE_ITEM, item_id, item) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("item " INT64_FORMAT " was not updated", item_id),
				 errhint("Look for a trigger or rule on seckill.items that skips rows.")));
}

/*
 * The columns of the one row that was read, for the caller of
 * seckill_ledger_end().
 */
static void
copy_columns(Datum *values, bool *nulls)
{
	HeapTuple	tuple = SPI_copytuple(SPI_tuptable->vals[0]);

	heap_deform_tuple(tuple, SPI_tuptable->tupdesc, values, nulls);
	SPI_freetuptable(SPI_tuptable);
}

/* Read the newest committed row of an item, or our own change of it. */
bool
seckill_ledger_read_item(int64 item_id, ItemDetails *item)
{
	Datum		args[] = {Int64GetDatum(item_id)};
	Datum		values[ITEM_SETTINGS + 3];
	bool		nulls[ITEM_SETTINGS + 3];

	if (run_latest(PLAN_READ_ITEM, args, seckill_catalog()->owner) == 0)
		return false;
	copy_columns(values, nulls);
	memcpy(item->settings, values, sizeof(item->settings));
	memcpy(item->nulls, nulls, sizeof(item->nulls));
	item->stock = DatumGetInt32(values[ITEM_SETTINGS]);
	item->leased = DatumGetInt32(values[ITEM_SETTINGS + 1]);
	item->lease_id = nulls[ITEM_SETTINGS + 2] ? 0 :
		DatumGetInt64(values[ITEM_SETTINGS + 2]);
	return true;
}

/* The same for what seckill_order() shows of an order. */
bool
seckill_ledger_read_order(int64 item_id, int64 order_id, Datum *values,
						  bool *nulls)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id)};

	if (run_latest(PLAN_READ_ORDER, args,
				   seckill_catalog()->orders_owner) == 0)
		return false;
	copy_columns(values, nulls);
	return true;
}

/* Has any item an open lease? */
bool
seckill_ledger_any_lease(void)
{
	return run_latest(PLAN_ANY_LEASE, NULL, seckill_catalog()->owner) > 0;
}


/*
 * seckill.orders
 */

/* When an order made at this time must be paid; 0: it is confirmed already. */
static TimestampTz
pay_by(const Purchase *p, TimestampTz now)
{
	return p->rules.pay_within > 0 ? now + p->rules.pay_within : 0;
}

/* Arguments of PLAN_ORDER but mode and lease; nulls is of blanks. */
static void
one_order(const Purchase *p, TimestampTz now, Datum *args, char *nulls)
{
	const SeckillCatalog *c = seckill_catalog();

	args[0] = Int64GetDatum(p->item_id);
	args[1] = Int64GetDatum(p->order_id);
	args[2] = Int64GetDatum(p->user_id);
	args[3] = Int32GetDatum(p->quantity);
	args[4] = UUIDPGetDatum(&p->request);
	args[5] = BoolGetDatum(p->rules.per_user_limit > 0);
	args[8] = TimestampTzGetDatum(pay_by(p, now));
	args[9] = ObjectIdGetDatum(c->state[p->rules.pay_within > 0 ? ORDER_PENDING :
										ORDER_CONFIRMED]);
	if (!p->has_request)
		nulls[4] = 'n';
	if (p->rules.pay_within == 0)
		nulls[8] = 'n';
}

/* An array with NULLs, one-dimensional. */
static Datum
array_with_nulls(Datum *values, bool *nulls, int n, Oid type, int length,
				 bool by_value, char align)
{
	int			lower = 1;

	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower,
											  type, length, by_value, align));
}

/* The same for PLAN_ORDERS: arrays for many, and the states to choose from. */
static void
many_orders(Purchase **list, int n, TimestampTz now, Datum *args)
{
	const SeckillCatalog *c = seckill_catalog();
	Datum	   *column[7];
	bool	   *no_request = palloc(n * sizeof(bool));
	bool	   *no_pay_by = palloc(n * sizeof(bool));

	for (int j = 0; j < (int) lengthof(column); j++)
		column[j] = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		const Purchase *p = list[i];

		column[0][i] = Int64GetDatum(p->item_id);
		column[1][i] = Int64GetDatum(p->order_id);
		column[2][i] = Int64GetDatum(p->user_id);
		column[3][i] = Int32GetDatum(p->quantity);
		column[4][i] = UUIDPGetDatum(&p->request);
		column[5][i] = BoolGetDatum(p->rules.per_user_limit > 0);
		column[6][i] = TimestampTzGetDatum(pay_by(p, now));
		no_request[i] = !p->has_request;
		no_pay_by[i] = p->rules.pay_within == 0;
	}
	for (int j = 0; j < 3; j++)
		args[j] = int8_array(column[j], n);
	args[3] = int4_array(column[3], n);
	args[4] = array_with_nulls(column[4], no_request, n, UUIDOID, UUID_LEN,
							   false, TYPALIGN_CHAR);
	args[5] = PointerGetDatum(construct_array(column[5], n, BOOLOID, 1, true,
											  TYPALIGN_CHAR));
	args[8] = array_with_nulls(column[6], no_pay_by, n, TIMESTAMPTZOID,
							   sizeof(TimestampTz), FLOAT8PASSBYVAL,
							   TYPALIGN_DOUBLE);
	args[9] = ObjectIdGetDatum(c->state[ORDER_CONFIRMED]);
	args[10] = ObjectIdGetDatum(c->state[ORDER_PENDING]);
}

/* The keeper must look when the first of these is not paid. */
static void
schedule_orders(Purchase **list, int n, TimestampTz now)
{
	for (int i = 0; i < n; i++)
		if (list[i]->rules.pay_within > 0)
			seckill_schedule_note(pay_by(list[i], now));
}

/*
 * Write the orders of purchases by one mode, for units of the row (lease_id 0)
 * or of a lease, and set their order_id, ascending.  A trigger that skips the
 * row would lose the order while its units are gone: an error.
 */
static void
insert_orders(Purchase **list, int n, int64 lease_id, Snapshot snapshot)
{
	const SeckillCatalog *c = seckill_catalog();
	TimestampTz now = GetCurrentTimestamp();
	char		nulls[] = "       n   ";
	Datum		args[MAX_ARGS];
	LedgerCaller owner;
	int			nest;
	int			rc;

	if (lease_id != 0)
		nulls[7] = ' ';
	for (int i = 0; i < n; i++)
		list[i]->order_id = nextval_internal(c->order_ids, false);
	if (n == 1)
		one_order(list[0], now, args, nulls);
	else
		many_orders(list, n, now, args);
	args[6] = ObjectIdGetDatum(c->mode[list[0]->mode]);
	args[7] = Int64GetDatum(lease_id);
	become(c->orders_owner, &owner);
	nest = begin_generic();
	rc = SPI_execute_snapshot(get_plan(n == 1 ? PLAN_ORDER : PLAN_ORDERS),
							  args, nulls, snapshot, InvalidSnapshot, false,
							  true, 0);
	end_generic(nest);
	SetUserIdAndSecContext(owner.user, owner.context);
	if (rc < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s",
			 SPI_result_code_string(rc));
	if (SPI_processed != (uint64) n)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("order of item " INT64_FORMAT " was not inserted",
						list[0]->item_id),
				 errhint("Look for a trigger or rule on seckill.orders that skips rows.")));
	schedule_orders(list, n, now);
}

/* Write orders for units of the row. */
void
seckill_ledger_order(Purchase **list, int n)
{
	insert_orders(list, n, 0, InvalidSnapshot);
}

/*
 * Write orders of one item for units of a lease, if the row carries that lease and
 * the entry still does: while we waited for the table a TRUNCATE may have come
 * and gone.  This is the fence.  One snapshot serves both statements.
 */
bool
seckill_ledger_order_fenced(Purchase **list, int n, int64 lease_id)
{
	Relation	items = open_items();
	Snapshot	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	ItemRow		row;
	bool		passed = seckill_stock_lease_id(list[0]->entry) == lease_id &&
	fetch_item(items, list[0]->item_id, snapshot, &row, NoLock) &&
	row.lease_id == lease_id;

	if (passed)
		insert_orders(list, n, lease_id, snapshot);
	UnregisterSnapshot(snapshot);
	table_close(items, NoLock);
	return passed;
}

/*
 * What is bought by a user or asked for by a request, of all committed orders
 * and ours, straight from an index of (item_id, key).
 */

/* Positions of columns in seckill.orders. */
enum
{
	ORDER_ORDER_ID = 2,
	ORDER_USER_ID = 3,
	ORDER_QUANTITY = 4
};

struct OrderScan
{
	bool		by_request;
	Relation	orders;
	Relation	index;
	Snapshot	snapshot;
	TupleTableSlot *slot;
	IndexScanDesc scan;
};

/*
 * Open a scan of the orders by request or by user, for any number of keys.  It
 * sees what is committed now.
 */
OrderScan *
seckill_ledger_begin_scan(bool by_request)
{
	OrderScan  *s = palloc(sizeof(OrderScan));

	CommandCounterIncrement();
	s->by_request = by_request;
	s->orders = table_open(seckill_catalog()->orders, AccessShareLock);
	s->index = index_open(by_request ? seckill_catalog()->orders_request :
						  seckill_catalog()->orders_user, AccessShareLock);
	s->snapshot = RegisterSnapshot(GetLatestSnapshot());
	s->slot = table_slot_create(s->orders, NULL);
	s->scan = SeckillIndexBeginScan(s->orders, s->index, s->snapshot, 2);
	return s;
}

/* Look for a key. */
static void
rescan(OrderScan *s, int64 item_id, Datum key)
{
	RegProcedure equal = s->by_request ? F_UUID_EQ : F_INT8EQ;
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, equal, key);
	index_rescan(s->scan, keys, 2, NULL, 0);
}

/* A column of the order that was found; none of those read is NULL. */
static Datum
order_column(OrderScan *s, int column)
{
	bool		isnull;

	return slot_getattr(s->slot, column, &isnull);
}

static bool
next_order(OrderScan *s)
{
	return index_getnext_slot(s->scan, ForwardScanDirection, s->slot);
}

void
seckill_ledger_end_scan(OrderScan *s)
{
	index_endscan(s->scan);
	ExecDropSingleTupleTableSlot(s->slot);
	UnregisterSnapshot(s->snapshot);
	index_close(s->index, AccessShareLock);
	table_close(s->orders, AccessShareLock);
	pfree(s);
}

/* Units of an item that a user has in orders that count for the limit. */
int64
seckill_ledger_bought(OrderScan *s, int64 item_id, int64 user_id)
{
	int64		bought = 0;

	rescan(s, item_id, Int64GetDatum(user_id));
	while (next_order(s))
		bought += DatumGetInt32(order_column(s, ORDER_QUANTITY));
	return bought;
}

/*
 * Who wrote the order as it was found.  A frozen one is of long ago: its status
 * may not be kept any more.
 */
static TransactionId
order_xmin(OrderScan *s)
{
	return HeapTupleHeaderGetXmin(ExecFetchSlotHeapTuple(s->slot, false,
														 NULL)->t_data);
}

/* The order that a request has made, if any. */
bool
seckill_ledger_requested(OrderScan *s, int64 item_id,
						 const pg_uuid_t *request, OrderOfRequest *order)
{
	rescan(s, item_id, UUIDPGetDatum(request));
	if (!next_order(s))
		return false;
	order->order_id = DatumGetInt64(order_column(s, ORDER_ORDER_ID));
	order->user_id = DatumGetInt64(order_column(s, ORDER_USER_ID));
	order->quantity = DatumGetInt32(order_column(s, ORDER_QUANTITY));
	order->xmin = order_xmin(s);
	return true;
}

/*
 * The life of an order
 */

/* Run a statement on orders of one item, the first argument, as their owner. */
static uint64
run_on_orders(PlanId id, Datum *args)
{
	LedgerCaller caller;
	uint64		processed;

	become(seckill_catalog()->orders_owner, &caller);
	processed = run(id, args);
	SetUserIdAndSecContext(caller.user, caller.context);
	return processed;
}

/* An UPDATE of a locked order that found it did nothing. */
void
seckill_ledger_not_updated(int64 item_id, int64 order_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("order " INT64_FORMAT " of item " INT64_FORMAT " was not updated",
					order_id, item_id),
			 errhint("Look for a trigger or rule on seckill.orders that skips rows.")));
}

/*
 * Run an UPDATE of orders of one item that returns their state, and leaves its
 * result for the caller to free; returns how many it moved.  A trigger that
 * keeps the old row would have their units given back again and again.
 */
static int
move_orders(PlanId id, Datum *args, OrderState to)
{
	int			moved = (int) run_on_orders(id, args);

	for (int i = 0; i < moved; i++)
		if (DatumGetObjectId(result_column(i, 1, ObjectIdGetDatum(InvalidOid))) !=
			seckill_catalog()->state[to])
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
					 errmsg("order of item " INT64_FORMAT " was not updated",
							DatumGetInt64(args[0])),
					 errhint("Look for a trigger on seckill.orders that changes the state.")));
	return moved;
}

/* The same for one order, its second argument; was there one to move? */
static bool
move_order(PlanId id, Datum *args, OrderState to)
{
	bool		moved = move_orders(id, args, to) > 0;

	SPI_freetuptable(SPI_tuptable);
	return moved;
}

/* Run an UPDATE of an order that the caller has locked. */
static void
update_order(PlanId id, Datum *args, OrderState to)
{
	if (!move_order(id, args, to))
		seckill_ledger_not_updated(DatumGetInt64(args[0]),
								   DatumGetInt64(args[1]));
}

/* Confirm the order if it is pending; was it? */
bool
seckill_ledger_confirm(int64 item_id, int64 order_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id),
	ObjectIdGetDatum(seckill_catalog()->state[ORDER_PENDING])};

	return move_order(PLAN_CONFIRM, args, ORDER_CONFIRMED);
}

static OrderState
state_of(Oid value)
{
	const SeckillCatalog *c = seckill_catalog();

	for (int i = 0; i < ORDER_STATES; i++)
		if (c->state[i] == value)
			return (OrderState) i;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("order has an unknown state")));
}

/*
 * Lock an order, waiting for whoever has it, and read it; false if there is
 * none.
 */
bool
seckill_ledger_lock_order(int64 item_id, int64 order_id, OrderRow *row)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id)};

	if (run_on_orders(PLAN_LOCK_ORDER, args) == 0)
	{
		if (IsolationUsesXactSnapshot() &&
			run_latest(PLAN_HAS_ORDER, args,
					   seckill_catalog()->orders_owner) > 0)
			seckill_ledger_unserializable();
		return false;
	}
	row->user_id = DatumGetInt64(result_column(0, 1, Int64GetDatum(0)));
	row->quantity = DatumGetInt32(result_column(0, 2, 0));
	row->state = state_of(DatumGetObjectId(result_column(0, 3, 0)));
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/* Confirm a locked order that has expired, and count it for the limit. */
void
seckill_ledger_confirm_late(int64 item_id, int64 order_id, bool limited)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id),
	BoolGetDatum(limited)};

	update_order(PLAN_CONFIRM_LATE, args, ORDER_CONFIRMED);
}

/* Cancel a locked order. */
void
seckill_ledger_cancel(int64 item_id, int64 order_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(order_id)};

	update_order(PLAN_CANCEL, args, ORDER_CANCELLED);
}

/*
 * Of the given orders of an item, expire those that are overdue still and that
 * nobody has locked.  Returns their number, and their units.
 */
int
seckill_ledger_expire(int64 item_id, const OrderKey *orders, int n,
					  TimestampTz now, int64 *units)
{
	Datum	   *ids = palloc(n * sizeof(Datum));
	Datum		args[4];
	int			expired;

	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(orders[i].order_id);
	args[0] = Int64GetDatum(item_id);
	args[1] = int8_array(ids, n);
	args[2] = TimestampTzGetDatum(now);
	args[3] = ObjectIdGetDatum(seckill_catalog()->state[ORDER_PENDING]);
	expired = move_orders(PLAN_EXPIRE, args, ORDER_EXPIRED);
	*units = 0;
	for (int i = 0; i < expired; i++)
		*units += DatumGetInt32(result_column(i, 2, 0));
	SPI_freetuptable(SPI_tuptable);
	return expired;
}

/*
 * Orders that are overdue, the oldest first, up to max of them.  Those of some
 * items are passed over, and of the others so many at the front.
 */
int
seckill_ledger_overdue(TimestampTz now, const int64 *except, int nexcept,
					   int skip, OrderKey *orders, int max)
{
	Datum	   *ids = palloc(nexcept * sizeof(Datum));
	Datum		args[4];
	int			n;

	for (int i = 0; i < nexcept; i++)
		ids[i] = Int64GetDatum(except[i]);
	args[0] = TimestampTzGetDatum(now);
	args[1] = int8_array(ids, nexcept);
	args[2] = Int64GetDatum(skip);
	args[3] = Int64GetDatum(max);
	n = (int) run_latest(PLAN_OVERDUE, args, seckill_catalog()->orders_owner);
	for (int i = 0; i < n; i++)
	{
		orders[i].item_id = DatumGetInt64(result_column(i, 1, 0));
		orders[i].order_id = DatumGetInt64(result_column(i, 2, 0));
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/* The first value of a statement on the newest rows, or DT_NOEND. */
static TimestampTz
first_time(PlanId id, Datum *args, Oid owner)
{
	TimestampTz time = DT_NOEND;

	if (run_latest(id, args, owner) > 0)
		time = DatumGetTimestampTz(result_column(0, 1, 0));
	SPI_freetuptable(SPI_tuptable);
	return time;
}

/* When the first pending order after a time is overdue. */
TimestampTz
seckill_ledger_next_pay_by(TimestampTz after)
{
	Datum		args[] = {TimestampTzGetDatum(after)};

	return first_time(PLAN_NEXT_PAY_BY, args, seckill_catalog()->orders_owner);
}

/*
 * Items whose sale opens after one time and until another, the first ones, up
 * to max.
 */
int
seckill_ledger_opening(TimestampTz after, TimestampTz until, int64 *item_ids,
					   int max)
{
	Datum		args[] = {TimestampTzGetDatum(after), TimestampTzGetDatum(until),
	Int64GetDatum(max)};
	int			n = (int) run_latest(PLAN_OPENING, args,
									 seckill_catalog()->owner);

	for (int i = 0; i < n; i++)
		item_ids[i] = DatumGetInt64(result_column(i, 1, 0));
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/* When the first sale after a time opens. */
TimestampTz
seckill_ledger_next_opening(TimestampTz after)
{
	Datum		args[] = {TimestampTzGetDatum(after)};

	return first_time(PLAN_NEXT_OPENING, args, seckill_catalog()->owner);
}

/* The item has a limit from now on: it counts for orders made before. */
void
seckill_ledger_limit_orders(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	(void) run_on_orders(PLAN_LIMIT_ORDERS, args);
}

/* Units of the orders that carry a lease; of all committed ones and ours. */
int64
seckill_ledger_sold_on_lease(int64 item_id, int64 lease_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(lease_id)};
	int64		sold;

	(void) run_latest(PLAN_SOLD_ON_LEASE, args,
					  seckill_catalog()->orders_owner);
	sold = DatumGetInt64(result_column(0, 1, Int64GetDatum(0)));
	SPI_freetuptable(SPI_tuptable);
	return sold;
}

bool
seckill_ledger_has_orders(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	return run_latest(PLAN_HAS_ORDERS, args,
					  seckill_catalog()->orders_owner) > 0;
}

bool
seckill_ledger_any_order(void)
{
	return run_latest(PLAN_ANY_ORDER, NULL,
					  seckill_catalog()->orders_owner) > 0;
}
