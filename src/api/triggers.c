/*
 * triggers.c
 *		Triggers on items and orders: they restrict changes by plain SQL, and
 *		announce changes of an item to all sessions.
 *
 * They replace constraints that would cost every purchase, such as a foreign
 * key from orders to items.  With session_replication_role = replica, which
 * replication workers set, they do not check, because the publisher did; they
 * only announce.
 *
 * Only the extension may write version, leased, lease_id, supplied and seal of
 * an item.  An UPDATE of them by any other statement is refused.  INSERT and
 * COPY ignore the values that are sent, with one exception: restoring a dump
 * must restore leases and supplied units.  So the extension stores a checksum,
 * the seal, whenever it writes the columns that leases and supplied units rest
 * on (seckill_item_seal()), and a row with a correct seal is inserted
 * unchanged.  A seal is not a secret.  It protects the counts against forms,
 * imports and copies of a row under another item_id, not against an attacker.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/settings.h"
#include "sale/lease.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/schedule.h"
#include "table/item_row.h"
#include "table/items.h"
#include "table/orders.h"
#include "table/plan.h"
#include "xact/changes.h"
#include "xact/entry.h"
#include "xact/hold.h"

PG_FUNCTION_INFO_V1(seckill_is_own);
PG_FUNCTION_INFO_V1(seckill_items_changed);
PG_FUNCTION_INFO_V1(seckill_items_delete);
PG_FUNCTION_INFO_V1(seckill_orders_guard);
PG_FUNCTION_INFO_V1(seckill_truncated);


/*
 * The trigger data of a call.  Raises an error if it is not a trigger call or
 * runs in parallel mode.
 */
static TriggerData *
trigger_data(FunctionCallInfo fcinfo, const char *name)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" can only be called as a trigger",
						name)));
	PreventCommandIfParallelMode(name);
	return (TriggerData *) fcinfo->context;
}

/* Raise an error if the trigger is not defined the right way. */
static void
check_protocol(bool right, const char *name, const char *way)
{
	if (!right)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" can only be called %s", name, way)));
}

/* Does the firing have this event, timing and level, row or statement? */
static bool
fired(const TriggerData *trigger, TriggerEvent event)
{
	return (trigger->tg_event & (TRIGGER_EVENT_OPMASK | TRIGGER_EVENT_ROW |
								 TRIGGER_EVENT_TIMINGMASK)) == event;
}

#define BEFORE_INSERT_ROW \
	(TRIGGER_EVENT_INSERT | TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_ROW)
#define BEFORE_DELETE_ROW \
	(TRIGGER_EVENT_DELETE | TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_ROW)
#define AFTER_UPDATE_ROW \
	(TRIGGER_EVENT_UPDATE | TRIGGER_EVENT_AFTER | TRIGGER_EVENT_ROW)
#define AFTER_DELETE_ROW \
	(TRIGGER_EVENT_DELETE | TRIGGER_EVENT_AFTER | TRIGGER_EVENT_ROW)
#define AFTER_TRUNCATE \
	(TRIGGER_EVENT_TRUNCATE | TRIGGER_EVENT_AFTER)

/* Is the trigger on this table? */
static bool
is_on(const TriggerData *trigger, Oid table)
{
	return RelationGetRelid(trigger->tg_relation) == table;
}

/*
 * Return the number of a column; seckill_catalog() has checked that it exists.
 */
static int
column_number(TriggerData *trigger, const char *name)
{
	return seckill_catalog_column(RelationGetRelid(trigger->tg_relation),
								  name);
}

/* An integer column of the tuple, or a timestamp; 0 for NULL. */
static int64
number_of(TriggerData *trigger, HeapTuple tuple, const char *name)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	int			column = column_number(trigger, name);
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, desc, &isnull);

	if (isnull)
		return 0;
	return TupleDescAttr(desc, column - 1)->attlen == sizeof(int32) ?
		DatumGetInt32(value) : DatumGetInt64(value);
}

/* Has the UPDATE changed this column?  The column has a fixed length. */
static bool
differs(TriggerData *trigger, const char *name)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	int			column = column_number(trigger, name);
	Form_pg_attribute att = TupleDescAttr(desc, column - 1);
	bool		was_null;
	bool		is_null;
	Datum		was = heap_getattr(trigger->tg_trigtuple, column, desc, &was_null);
	Datum		is = heap_getattr(trigger->tg_newtuple, column, desc, &is_null);

	if (was_null || is_null)
		return was_null != is_null;
	return !datumIsEqual(was, is, att->attbyval, att->attlen);
}

/* Has the UPDATE changed any of these columns? */
static bool
any_differs(TriggerData *trigger, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (differs(trigger, names[i]))
			return true;
	return false;
}

/* Does a replication worker apply the change? */
static bool
is_replica(void)
{
	return SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA;
}

/*
 * Wake the maintenance worker before (in microseconds) the time in a column,
 * if the column has a finite time.
 */
static void
note_time(TriggerData *trigger, HeapTuple tuple, const char *name,
		  int64 before)
{
	TimestampTz time = number_of(trigger, tuple, name);

	if (time != 0 && !TIMESTAMP_NOT_FINITE(time))
		seckill_schedule_note(time - before);
}

/*
 * seckill_is_own() returns boolean
 *
 * For the WHEN clause of a trigger: is the row written by a statement of the
 * extension?
 */
Datum
seckill_is_own(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(seckill_change_in_own());
}


/*
 * seckill.items
 */

/* Does the row have a correct seal? */
static bool
is_sealed(TriggerData *trigger, HeapTuple tuple)
{
	return number_of(trigger, tuple, "seal") ==
		seckill_item_seal(number_of(trigger, tuple, "item_id"),
						  number_of(trigger, tuple, "lease_id"),
						  number_of(trigger, tuple, "supplied"));
}

/*
 * Replace the columns that only the extension writes by those of a new item.
 */
static HeapTuple
item_as_new(TriggerData *trigger)
{
	static const char *const names[] = {
		"version", "leased", "lease_id", "supplied", "seal"
	};
	HeapTuple	tuple = trigger->tg_trigtuple;
	int64		item_id = number_of(trigger, tuple, "item_id");
	int64		stock = number_of(trigger, tuple, "stock");
	Datum		values[] = {
		Int64GetDatum(0), Int32GetDatum(0), Int64GetDatum(0),
		Int64GetDatum(stock),
		Int64GetDatum(seckill_item_seal(item_id, 0, stock))
	};
	bool		nulls[] = {false, false, true, false, false};
	int			columns[lengthof(names)];

	for (int i = 0; i < (int) lengthof(names); i++)
		columns[i] = column_number(trigger, names[i]);
	return heap_modify_tuple_by_cols(tuple,
									 RelationGetDescr(trigger->tg_relation),
									 lengthof(names), columns, values, nulls);
}

/* The row to insert: as sent if replicated or sealed, else as a new item. */
static HeapTuple
item_inserted(TriggerData *trigger)
{
	if (is_replica() || is_sealed(trigger, trigger->tg_trigtuple))
		return trigger->tg_trigtuple;
	return item_as_new(trigger);
}

/*
 * Refuse an UPDATE that saves a stale copy of the row.  Each write by the
 * extension raises the version, so an UPDATE that lowers it saves a row that
 * was read before; its other columns are stale, too, above all the stock.
 * This is optimistic locking by a version column, as in object-relational
 * mappers.
 */
static void
refuse_stale(TriggerData *trigger, int64 item_id)
{
	if (number_of(trigger, trigger->tg_newtuple, "version") <
		number_of(trigger, trigger->tg_trigtuple, "version"))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("item " INT64_FORMAT " has changed since it was read",
						item_id),
				 errhint("Read it again, or change only the columns that are meant: seckill_put_item(), seckill_restock() and seckill_set_available() do.")));
}

/* Refuse an UPDATE of columns that a user may not change. */
static void
refuse_change(TriggerData *trigger, int64 item_id)
{
	static const char *const kept[] = {
		"version", "leased", "lease_id", "supplied", "seal"
	};

	if (differs(trigger, "item_id"))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("item_id of an item cannot be changed"),
				 errhint("Insert another item, and end the sale of this one.")));
	refuse_stale(trigger, item_id);
	if (any_differs(trigger, kept, lengthof(kept)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("version, leased, lease_id, supplied and seal of an item cannot be changed by hand"),
				 errhint("Leave them as they are. seckill_prewarm() and seckill_recall() move units between row and cache; seckill_write_off() corrects supplied.")));
}

/* Add the units of a restock to those supplied; units may be negative. */
static void
add_supply(int64 item_id, int64 units)
{
	TableCaller caller;

	if (units == 0)
		return;
	seckill_table_begin(&caller);
	seckill_item_add_supply(item_id, units);
	seckill_table_end(&caller);
}

/* Count the existing orders of an item that gets a limit against it. */
static void
limit_orders(int64 item_id)
{
	TableCaller caller;

	seckill_table_begin(&caller);
	seckill_orders_mark_limited(item_id);
	seckill_table_end(&caller);
}

/* Check an UPDATE, and do what follows from a change of stock or limit. */
static void
item_updated(TriggerData *trigger, int64 item_id)
{
	int64		units = number_of(trigger, trigger->tg_newtuple, "stock") -
		number_of(trigger, trigger->tg_trigtuple, "stock");

	refuse_change(trigger, item_id);
	add_supply(item_id, units);
	if (number_of(trigger, trigger->tg_trigtuple, "per_user_limit") == 0 &&
		number_of(trigger, trigger->tg_newtuple, "per_user_limit") != 0)
		limit_orders(item_id);
}

/*
 * Must an UPDATE be announced to buyers?  A purchase from the row that a
 * replication worker applies need not be announced; it lowers the stock and
 * raises the version.
 */
static bool
concerns_buyers(TriggerData *trigger)
{
	static const char *const rules[] = {
		"leased", "lease_id", "starts_at", "ends_at", "per_user_limit",
		"limit_window", "require_token", "pay_within", "user_rate", "user_burst",
		"max_waiters", "item_id"
	};

	if (differs(trigger, "stock") &&
		(!differs(trigger, "version") ||
		 number_of(trigger, trigger->tg_newtuple, "stock") >
		 number_of(trigger, trigger->tg_trigtuple, "stock")))
		return true;
	return any_differs(trigger, rules, lengthof(rules));
}

/*
 * Trigger on seckill.items: BEFORE INSERT, and AFTER UPDATE by a statement
 * other than the extension's, FOR EACH ROW.  Announces the change at commit.
 */
Datum
seckill_items_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, "seckill_items_changed");
	HeapTuple	tuple;
	HeapTuple	changed;
	int64		item_id;

	check_protocol((fired(trigger, BEFORE_INSERT_ROW) ||
					fired(trigger, AFTER_UPDATE_ROW)) &&
				   is_on(trigger, seckill_catalog()->items),
				   "seckill_items_changed",
				   "BEFORE INSERT or AFTER UPDATE on seckill.items, FOR EACH ROW");
	tuple = changed = trigger->tg_trigtuple;
	item_id = number_of(trigger, tuple, "item_id");
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		tuple = item_inserted(trigger);
	else
	{
		changed = trigger->tg_newtuple;
		if (!is_replica())
			item_updated(trigger, item_id);
		if (!concerns_buyers(trigger))
			return PointerGetDatum(tuple);
		SECKILL_FAULT("change of an item followed up");
	}
	seckill_change_note_row(item_id, ROW_CHANGED);
	note_time(trigger, changed, "starts_at", USECS(seckill_open_ahead));
	return PointerGetDatum(tuple);
}

/*
 * Wait for the holders of the item, and refuse its deletion if it has orders.
 *
 * Without holders and orders the lease ends at once, so that a new item with
 * the same item_id does not find it.  If the DELETE is rolled back, a settle
 * returns the units of the lease.  The lease stays open while this transaction
 * holds units of it: they must return to it if ROLLBACK TO SAVEPOINT restores
 * the row.
 */
static void
check_no_orders(int64 item_id)
{
	TableCaller caller;
	Purchase	p = {.item_id = item_id};

	seckill_table_begin(&caller);
	p.entry = seckill_entry_find(item_id);
	seckill_lease_drain(&p);
	SECKILL_FAULT("item vacated");
	if (seckill_orders_exist(item_id))
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("item " INT64_FORMAT " still has orders", item_id),
				 errhint("Set ends_at to end its sale, or delete its orders first.")));
	if (p.entry != NULL && !seckill_hold_uses(p.entry, 0))
		seckill_cache_renew_lease(p.entry, seckill_cache_lease_id(p.entry));
	seckill_cache_unpin(p.entry);
	seckill_table_end(&caller);
}

/*
 * Raise an error if a call of this session is changing the item or is about to
 * write an order of it: a trigger that fires meanwhile must not delete it.
 */
static void
check_not_at_work(int64 item_id)
{
	if (seckill_change_at_work(item_id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot delete item " INT64_FORMAT " because a call that changes it is running in this session",
						item_id),
				 errhint("Look for a trigger on seckill.items or seckill.orders that deletes items. Delete the item when the call has ended.")));
}

/*
 * Trigger on seckill.items: BEFORE DELETE FOR EACH ROW.  DELETE has locked the
 * row before it fires.
 */
Datum
seckill_items_delete(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, "seckill_items_delete");
	int64		item_id;

	check_protocol(fired(trigger, BEFORE_DELETE_ROW) &&
				   is_on(trigger, seckill_catalog()->items),
				   "seckill_items_delete",
				   "BEFORE DELETE on seckill.items, FOR EACH ROW");
	item_id = number_of(trigger, trigger->tg_trigtuple, "item_id");
	if (!is_replica())
	{
		check_not_at_work(item_id);
		check_no_orders(item_id);
	}
	seckill_change_note_row(item_id, ROW_CHANGED);
	return PointerGetDatum(trigger->tg_trigtuple);
}


/*
 * seckill.orders
 */

/*
 * Refuse to delete an order of the open lease, because a settle counts it.
 * The id of a closed lease is never used again, so its orders can be deleted.
 */
static void
check_lease_closed(int64 item_id, int64 lease_id)
{
	ItemRow		row;

	if (seckill_item_read_latest(item_id, &row) && row.leased > 0 &&
		row.lease_id == lease_id)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("order belongs to the open lease of item " INT64_FORMAT,
						item_id),
				 errhint("Close the lease first: SELECT seckill_recall(" INT64_FORMAT ").",
						 item_id)));
}

/* Was the order pending before the UPDATE? */
static bool
was_pending(TriggerData *trigger)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	bool		isnull;
	Datum		state = heap_getattr(trigger->tg_trigtuple,
									 column_number(trigger, "state"), desc,
									 &isnull);

	return DatumGetObjectId(state) == seckill_catalog()->state[ORDER_PENDING];
}

/*
 * Refuse an UPDATE of an order, unless it is the extension's or changes pay_by
 * of a pending order.  The facts of a purchase never change: audit, limits,
 * requests and settles rely on them.
 */
static void
order_updated(TriggerData *trigger, int64 item_id)
{
	static const char *const facts[] = {
		"item_id", "order_id", "user_id", "quantity", "mode", "lease_id",
		"created_at", "request_id"
	};

	if (any_differs(trigger, facts, lengthof(facts)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("item_id, order_id, user_id, quantity, mode, lease_id, created_at and request_id of an order cannot be changed")));
	if (seckill_change_is_own(item_id))
		return;
	if (differs(trigger, "state") || differs(trigger, "limited"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("state and limited of an order cannot be changed by hand"),
				 errhint("Use seckill_confirm() and seckill_cancel().")));
	if (!differs(trigger, "pay_by"))
		return;
	if (!was_pending(trigger))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pay_by of an order that is not pending cannot be changed"),
				 errhint("An expired order can still be paid: seckill_confirm() takes its units again, if there are any.")));
	note_time(trigger, trigger->tg_newtuple, "pay_by", 0);
}

/*
 * Trigger on seckill.orders: AFTER UPDATE, and AFTER DELETE of an order of a
 * lease, FOR EACH ROW.
 */
Datum
seckill_orders_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, "seckill_orders_guard");
	HeapTuple	tuple = trigger->tg_trigtuple;
	int64		item_id;

	check_protocol((fired(trigger, AFTER_UPDATE_ROW) ||
					fired(trigger, AFTER_DELETE_ROW)) &&
				   is_on(trigger, seckill_catalog()->orders),
				   "seckill_orders_guard",
				   "AFTER UPDATE or DELETE on seckill.orders, FOR EACH ROW");
	item_id = number_of(trigger, tuple, "item_id");
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		order_updated(trigger, item_id);
	else
		check_lease_closed(item_id, number_of(trigger, tuple, "lease_id"));
	return PointerGetDatum(NULL);
}


/*
 * TRUNCATE
 */

/*
 * Refuse to truncate items that have orders, or orders while a lease is open.
 * Both tables can be truncated in one statement: the triggers fire after it.
 */
static void
check_truncated(Oid table)
{
	TableCaller caller;

	if (table == seckill_catalog()->items && seckill_change_at_work(0))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot truncate items because a call that changes one is running in this session"),
				 errhint("Look for a trigger on seckill.items or seckill.orders that truncates items. Truncate them when the call has ended.")));
	seckill_table_begin(&caller);
	if (table == seckill_catalog()->items && seckill_orders_any())
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("cannot truncate items that still have orders"),
				 errhint("Truncate both: TRUNCATE seckill.items, seckill.orders.")));
	if (table == seckill_catalog()->orders && seckill_items_any_lease())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot truncate orders while a lease is open"),
				 errhint("Close leases with seckill_recall(), or truncate both: TRUNCATE seckill.items, seckill.orders.")));
	seckill_table_end(&caller);
}

/*
 * Trigger on seckill.items and seckill.orders: AFTER TRUNCATE FOR EACH
 * STATEMENT.  The cache drops the entries of truncated items at commit.
 */
Datum
seckill_truncated(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, "seckill_truncated");
	Oid			table;

	check_protocol(fired(trigger, AFTER_TRUNCATE) &&
				   (is_on(trigger, seckill_catalog()->items) ||
					is_on(trigger, seckill_catalog()->orders)),
				   "seckill_truncated",
				   "AFTER TRUNCATE on seckill.items or seckill.orders");
	table = RelationGetRelid(trigger->tg_relation);
	if (!is_replica())
		check_truncated(table);
	if (table == seckill_catalog()->items)
		seckill_change_note_emptied(table);
	SECKILL_FAULT("tables emptied");
	return PointerGetDatum(NULL);
}
