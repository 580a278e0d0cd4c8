/*
 * ledger.c
 *		Every statement on seckill.items and seckill.orders, and their plans.
 *
 * Statements run between seckill_ledger_begin() and seckill_ledger_end() as
 * the owner of seckill.items, in the way the foreign-key triggers reach their
 * tables, so callers need no right on them.  On an error, the abort of the
 * (sub)transaction restores the user and closes SPI.
 *
 * Every name and operator is schema-qualified, and plans are made once per
 * backend, so the caller's search_path decides nothing.  Plans are made with
 * sequential scans disabled: for a small items table the planner would read
 * every dead version of every item, and a serializable transaction would
 * conflict with every buyer.
 *
 * Snapshots.  A statement runs under the transaction's snapshot, which is a
 * new one per statement in READ COMMITTED; only what must see the newest
 * committed rows at any isolation level (peek, and the counting of a dead
 * lease) asks for the latest snapshot.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "seckill.h"

typedef enum PlanId
{
	PLAN_READ,
	PLAN_LOCK,
	PLAN_TRY_LOCK,
	PLAN_SELL,
	PLAN_SELL_VERSION,
	PLAN_OVERWRITE,
	PLAN_LEASE,
	PLAN_GIVE_BACK,
	PLAN_CLOSE,
	PLAN_SOLD_ON_LEASE,
	PLAN_ORDER,
	PLAN_ORDER_FENCED,
	PLAN_SUPPLY,
	PLAN_HAS_ORDERS,
	PLAN_ANY_LEASE,
	PLAN_ANY_ORDER
} PlanId;

#define PLANS		(PLAN_ANY_ORDER + 1)
#define MAX_ARGS	5

/* Stands for seckill_mode, whose OID is known at run time only. */
#define MODE_TYPE	InvalidOid

typedef struct Statement
{
	const char *sql;
	int			nargs;
	Oid			types[MAX_ARGS];
} Statement;

#define EQ		" OPERATOR(pg_catalog.=) "
#define GE		" OPERATOR(pg_catalog.>=) "
#define GT		" OPERATOR(pg_catalog.>) "
#define PLUS	" OPERATOR(pg_catalog.+) "
#define MINUS	" OPERATOR(pg_catalog.-) "

#define READ_ITEM \
	"SELECT stock, leased, lease_id, version, starts_at, ends_at" \
	" FROM seckill.items WHERE item_id" EQ "$1"

#define SELL_UNITS \
	"UPDATE seckill.items SET stock = stock" MINUS "$2," \
	" leased = leased" MINUS "$3, version = version" PLUS "1" \
	" WHERE item_id" EQ "$1 AND stock" GE "$2" \
	" AND ($3" EQ "0 OR lease_id" EQ "$4)"

static const Statement statements[PLANS] = {
	[PLAN_READ] = {READ_ITEM, 1, {INT8OID}},
	[PLAN_LOCK] = {READ_ITEM " FOR UPDATE", 1, {INT8OID}},
	[PLAN_TRY_LOCK] = {READ_ITEM " FOR UPDATE SKIP LOCKED", 1, {INT8OID}},
	[PLAN_SELL] = {SELL_UNITS, 4, {INT8OID, INT4OID, INT4OID, INT8OID}},
	[PLAN_SELL_VERSION] = {
		SELL_UNITS " AND version" EQ "$5",
		5, {INT8OID, INT4OID, INT4OID, INT8OID, INT8OID}
	},
	[PLAN_OVERWRITE] = {
		"UPDATE seckill.items SET stock = $2, version = version" PLUS "1"
		" WHERE item_id" EQ "$1",
		2, {INT8OID, INT4OID}
	},
	[PLAN_LEASE] = {
		"UPDATE seckill.items SET stock = stock" MINUS "$2,"
		" leased = leased" PLUS "$2, lease_id = $3,"
		" version = version" PLUS "1"
		" WHERE item_id" EQ "$1 AND stock" GE "$2"
		" AND (leased" EQ "0 OR lease_id" EQ "$3)",
		3, {INT8OID, INT4OID, INT8OID}
	},
	[PLAN_GIVE_BACK] = {
		"UPDATE seckill.items SET stock = stock" PLUS "$2,"
		" leased = leased" MINUS "$2, version = version" PLUS "1"
		" WHERE item_id" EQ "$1",
		2, {INT8OID, INT4OID}
	},
	[PLAN_CLOSE] = {
		"UPDATE seckill.items SET stock = stock" PLUS "$2,"
		" leased = 0, lease_id = NULL, version = version" PLUS "1"
		" WHERE item_id" EQ "$1",
		2, {INT8OID, INT4OID}
	},
	[PLAN_SOLD_ON_LEASE] = {
		"SELECT pg_catalog.sum(quantity) FROM seckill.orders"
		" WHERE item_id" EQ "$1 AND lease_id" EQ "$2",
		2, {INT8OID, INT8OID}
	},
	[PLAN_ORDER] = {
		"INSERT INTO seckill.orders (item_id, user_id, quantity, mode)"
		" VALUES ($1, $2, $3, $4) RETURNING order_id",
		4, {INT8OID, INT8OID, INT4OID, MODE_TYPE}
	},
	[PLAN_ORDER_FENCED] = {
		"INSERT INTO seckill.orders"
		" (item_id, user_id, quantity, mode, lease_id)"
		" SELECT item_id, $2, $3, $4, lease_id FROM seckill.items"
		" WHERE item_id" EQ "$1 AND lease_id" EQ "$5 RETURNING order_id",
		5, {INT8OID, INT8OID, INT4OID, MODE_TYPE, INT8OID}
	},
	[PLAN_SUPPLY] = {
		"UPDATE seckill.items SET supplied = supplied" PLUS "$2"
		" WHERE item_id" EQ "$1",
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
	const Statement *stmt = &statements[id];
	Oid			types[MAX_ARGS];
	SPIPlanPtr	plan;

	for (int i = 0; i < stmt->nargs; i++)
		types[i] = stmt->types[i] == MODE_TYPE ?
			seckill_catalog()->mode_type : stmt->types[i];
	plan = SPI_prepare_cursor(stmt->sql, stmt->nargs, types,
							  CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	plans[id] = plan;
}

/* Plan with index scans only. */
static void
replan(SPIPlanPtr plan)
{
	int			nest = NewGUCNestLevel();

	(void) set_config_option("enable_seqscan", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("enable_bitmapscan", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	ReleaseCachedPlan(SPI_plan_get_cached_plan(plan), CurrentResourceOwner);
	AtEOXact_GUC(true, nest);
}

static bool
is_planned(SPIPlanPtr plan)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));

	return source->is_valid && source->gplan != NULL &&
		source->gplan->is_valid;
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
	if (!is_planned(plans[id]))
		replan(plans[id]);
	return plans[id];
}


/*
 * Running
 */

/* Run under the transaction's snapshot; the number of rows it made. */
static uint64
run(PlanId id, Datum *args, const char *nulls)
{
	int			rc = SPI_execute_plan(get_plan(id), args, nulls, false, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

/* Run a SELECT that sees the newest committed rows, and our own. */
static uint64
run_latest(PlanId id, Datum *args)
{
	SPIPlanPtr	plan = get_plan(id);
	Snapshot	snapshot;
	int			rc;

	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	rc = SPI_execute_snapshot(plan, args, NULL, snapshot, InvalidSnapshot,
							  true, false, 0);
	UnregisterSnapshot(snapshot);
	if (rc < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s",
			 SPI_result_code_string(rc));
	return SPI_processed;
}

/* A column of the only row of the last result; false if it is NULL. */
static bool
column(int number, Datum *value)
{
	bool		isnull;

	*value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
						   number, &isnull);
	return !isnull;
}

static void
fetch_row(ItemRow *row)
{
	Datum		value;

	(void) column(1, &value);
	row->stock = DatumGetInt32(value);
	(void) column(2, &value);
	row->leased = DatumGetInt32(value);
	row->lease_id = column(3, &value) ? DatumGetInt64(value) : 0;
	(void) column(4, &value);
	row->version = DatumGetInt64(value);
	row->starts_at = column(5, &value) ?
		DatumGetTimestampTz(value) : DT_NOBEGIN;
	row->ends_at = column(6, &value) ? DatumGetTimestampTz(value) : DT_NOEND;
	SPI_freetuptable(SPI_tuptable);
}

static bool
read_item(PlanId id, int64 item_id, ItemRow *row)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	if (run(id, args, NULL) == 0)
		return false;
	fetch_row(row);
	return true;
}

static bool
exists_latest(PlanId id, Datum *args)
{
	return run_latest(id, args) > 0;
}


/*
 * seckill.items.  Functions that read return false if there is no such item.
 */

/* The newest committed row, or our own change of it. */
bool
seckill_ledger_peek(int64 item_id, ItemRow *row)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	if (run_latest(PLAN_READ, args) == 0)
		return false;
	fetch_row(row);
	return true;
}

/* The row as the transaction's snapshot sees it. */
bool
seckill_ledger_read(int64 item_id, ItemRow *row)
{
	return read_item(PLAN_READ, item_id, row);
}

/* Lock the row for update, waiting for whoever has it; then read it. */
bool
seckill_ledger_lock(int64 item_id, ItemRow *row)
{
	bool		found = read_item(PLAN_LOCK, item_id, row);

	if (found)
		seckill_xact_note_row(item_id, false);
	return found;
}

/* The same, or false at once if someone else has it locked. */
bool
seckill_ledger_try_lock(int64 item_id, ItemRow *row)
{
	bool		found = read_item(PLAN_TRY_LOCK, item_id, row);

	if (found)
		seckill_xact_note_row(item_id, false);
	return found;
}

/*
 * Sell from_row units of the stock and from_lease units of the lease that the
 * caller holds, if the row still has them.
 */
bool
seckill_ledger_sell(int64 item_id, int32 from_row, int32 from_lease,
					int64 lease_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(from_row),
	Int32GetDatum(from_lease), Int64GetDatum(lease_id)};
	bool		sold = run(PLAN_SELL, args, NULL) > 0;

	if (sold)
		seckill_xact_note_row(item_id, false);
	return sold;
}

/* The same, if the row still has the given version. */
bool
seckill_ledger_sell_version(int64 item_id, int32 from_row, int32 from_lease,
							int64 lease_id, int64 version)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(from_row),
		Int32GetDatum(from_lease), Int64GetDatum(lease_id),
	Int64GetDatum(version)};
	bool		sold = run(PLAN_SELL_VERSION, args, NULL) > 0;

	if (sold)
		seckill_xact_note_row(item_id, false);
	return sold;
}

/* Write back a stock computed from what was read: the mistake of mode none. */
void
seckill_ledger_overwrite(int64 item_id, int32 stock)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(stock)};

	(void) run(PLAN_OVERWRITE, args, NULL);
	seckill_xact_note_row(item_id, true);
}

/* Run an UPDATE of a row that the caller has locked. */
static void
update_locked(PlanId id, Datum *args)
{
	if (run(id, args, NULL) != 1)
		elog(ERROR, "row of item " INT64_FORMAT " is not as it was locked",
			 DatumGetInt64(args[0]));
}

/* Move units of a locked row from its stock to a lease. */
void
seckill_ledger_lease(int64 item_id, int32 units, int64 lease_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units),
	Int64GetDatum(lease_id)};

	update_locked(PLAN_LEASE, args);
}

/* Move units of a locked row from its lease to its stock, or close it. */
void
seckill_ledger_give_back(int64 item_id, int32 units, bool close)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(units)};

	update_locked(close ? PLAN_CLOSE : PLAN_GIVE_BACK, args);
	seckill_xact_note_row(item_id, true);
}

/* Add to the units ever supplied. */
void
seckill_ledger_supply(int64 item_id, int64 units)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(units)};

	(void) run(PLAN_SUPPLY, args, NULL);
}

/* Has any item an open lease? */
bool
seckill_ledger_any_lease(void)
{
	return exists_latest(PLAN_ANY_LEASE, NULL);
}


/*
 * seckill.orders
 */

static void
fetch_order_id(Purchase *p)
{
	Datum		value;

	if (!column(1, &value))
		elog(ERROR, "order has no order_id");
	p->order_id = DatumGetInt64(value);
	SPI_freetuptable(SPI_tuptable);
}

/*
 * The order was not inserted though its units are taken: the transaction must
 * not commit.
 */
void
seckill_ledger_order_skipped(int64 item_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("order of item " INT64_FORMAT " was not inserted",
					item_id),
			 errhint("Look for a trigger or rule on seckill.orders that skips rows.")));
}

/* Write the order of p for units of the row, and set its order_id. */
void
seckill_ledger_order(Purchase *p)
{
	Datum		args[] = {Int64GetDatum(p->item_id), Int64GetDatum(p->user_id),
		Int32GetDatum(p->quantity),
	ObjectIdGetDatum(seckill_catalog()->mode[p->mode])};

	if (run(PLAN_ORDER, args, NULL) != 1)
		seckill_ledger_order_skipped(p->item_id);
	fetch_order_id(p);
}

/*
 * Write the order of p for units of a lease, and set its order_id, if the row
 * carries that lease.  This is the fence: a lease_id is a fencing token.
 */
bool
seckill_ledger_order_fenced(Purchase *p, int64 lease_id)
{
	Datum		args[] = {Int64GetDatum(p->item_id), Int64GetDatum(p->user_id),
		Int32GetDatum(p->quantity),
		ObjectIdGetDatum(seckill_catalog()->mode[p->mode]),
	Int64GetDatum(lease_id)};

	if (run(PLAN_ORDER_FENCED, args, NULL) != 1)
		return false;
	fetch_order_id(p);
	return true;
}

/* Units of the orders that carry a lease; of all committed ones and ours. */
int64
seckill_ledger_sold_on_lease(int64 item_id, int64 lease_id)
{
	Datum		args[] = {Int64GetDatum(item_id), Int64GetDatum(lease_id)};
	Datum		value;
	int64		sold;

	(void) run_latest(PLAN_SOLD_ON_LEASE, args);
	sold = column(1, &value) ? DatumGetInt64(value) : 0;
	SPI_freetuptable(SPI_tuptable);
	return sold;
}

bool
seckill_ledger_has_orders(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	return exists_latest(PLAN_HAS_ORDERS, args);
}

bool
seckill_ledger_any_order(void)
{
	return exists_latest(PLAN_ANY_ORDER, NULL);
}
