/*
 * guard.c
 *		Triggers on items and orders: what the application may change by plain
 *		SQL, and who must hear of it.
 *
 * They stand in for constraints that would cost every purchase, like a foreign
 * key from orders to items.  A replication worker (or a session that plays
 * one) applies what was checked elsewhere: it only announces.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "seckill.h"

PG_FUNCTION_INFO_V1(seckill_items_changed);
PG_FUNCTION_INFO_V1(seckill_items_delete);
PG_FUNCTION_INFO_V1(seckill_orders_guard);
PG_FUNCTION_INFO_V1(seckill_truncated);


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

static int
column_number(TriggerData *trigger, const char *name)
{
	int			number = SPI_fnumber(RelationGetDescr(trigger->tg_relation),
									 name);

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column \"%s\"",
						RelationGetRelationName(trigger->tg_relation), name)));
	return number;
}

/* A column as a number; a NULL counts as 0. */
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

static bool
differs(TriggerData *trigger, const char *name)
{
	return number_of(trigger, trigger->tg_trigtuple, name) !=
		number_of(trigger, trigger->tg_newtuple, name);
}

static bool
is_replica(void)
{
	return SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA;
}

/* The keeper must look so long before the time in a column, if there is one. */
static void
note_time(TriggerData *trigger, HeapTuple tuple, const char *name,
		  int64 before)
{
	TimestampTz time = number_of(trigger, tuple, name);

	if (time != 0 && !TIMESTAMP_NOT_FINITE(time))
		seckill_schedule_note(time - before);
}


/*
 * seckill.items
 */

/* A new item has been supplied with its stock, unless a restore knows better. */
static HeapTuple
item_with_supply(TriggerData *trigger)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	int			column = column_number(trigger, "supplied");
	Datum		value;
	bool		isnull;

	(void) heap_getattr(trigger->tg_trigtuple, column, desc, &isnull);
	if (!isnull)
		return trigger->tg_trigtuple;
	isnull = false;
	value = Int64GetDatum(number_of(trigger, trigger->tg_trigtuple, "stock"));
	return heap_modify_tuple_by_cols(trigger->tg_trigtuple, desc, 1, &column,
									 &value, &isnull);
}

static void
refuse_change(TriggerData *trigger)
{
	if (differs(trigger, "item_id"))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("item_id of an item cannot be changed"),
				 errhint("Insert another item, and end the sale of this one.")));
	if (differs(trigger, "leased") || differs(trigger, "lease_id"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("leased and lease_id of an item cannot be changed by hand"),
				 errhint("Use seckill_prewarm() and seckill_recall().")));
}

static void
add_supply(int64 item_id, int64 units)
{
	LedgerCaller caller;

	if (units == 0)
		return;
	seckill_ledger_begin(&caller);
	seckill_ledger_supply(item_id, units);
	seckill_ledger_end(&caller);
}

/* An item gets a limit: the orders that it has count, too. */
static void
limit_orders(int64 item_id)
{
	LedgerCaller caller;

	seckill_ledger_begin(&caller);
	seckill_ledger_limit_orders(item_id);
	seckill_ledger_end(&caller);
}

static void
item_updated(TriggerData *trigger, int64 item_id)
{
	int64		units = number_of(trigger, trigger->tg_newtuple, "stock") -
	number_of(trigger, trigger->tg_trigtuple, "stock");

	refuse_change(trigger);
	add_supply(item_id, units);
	if (number_of(trigger, trigger->tg_trigtuple, "per_user_limit") == 0 &&
		number_of(trigger, trigger->tg_newtuple, "per_user_limit") != 0)
		limit_orders(item_id);
}

/*
 * An UPDATE of the extension's own.  Other triggers can run statements of the
 * application's meanwhile: those are of other items, or leave the version.
 */
static bool
is_own_update(TriggerData *trigger, int64 item_id)
{
	return seckill_xact_is_own(item_id) &&
		number_of(trigger, trigger->tg_newtuple, "version") ==
		number_of(trigger, trigger->tg_trigtuple, "version") + 1;
}

/* BEFORE INSERT, and AFTER UPDATE that is no purchase, FOR EACH ROW */
Datum
seckill_items_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, "seckill_items_changed");
	HeapTuple	tuple = trigger->tg_trigtuple;
	HeapTuple	changed = tuple;
	int64		item_id = number_of(trigger, tuple, "item_id");

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		tuple = item_with_supply(trigger);
	else if (is_own_update(trigger, item_id))
		return PointerGetDatum(tuple);
	else
	{
		changed = trigger->tg_newtuple;
		if (!is_replica())
			item_updated(trigger, item_id);
		SECKILL_FAULT("change of an item followed up");
	}
	seckill_xact_note_row(item_id, ROW_CHANGED);
	note_time(trigger, changed, "starts_at", USECS(seckill_open_ahead));
	return PointerGetDatum(tuple);
}

/*
 * With no holders and no orders the lease can end at once, so that no new item
 * of this number meets it.  If the DELETE is rolled back, it is settled.
 */
static void
check_no_orders(int64 item_id)
{
	LedgerCaller caller;
	Purchase	p = {.item_id = item_id};

	seckill_ledger_begin(&caller);
	p.entry = seckill_stock_find(item_id);
	seckill_lease_vacate(&p);
	SECKILL_FAULT("item vacated");
	if (seckill_ledger_has_orders(item_id))
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("item " INT64_FORMAT " still has orders", item_id),
				 errhint("Set ends_at to end its sale, or delete its orders first.")));
	if (p.entry != NULL)
		seckill_stock_renew(p.entry, seckill_stock_lease_id(p.entry));
	seckill_stock_unpin(p.entry);
	seckill_ledger_end(&caller);
}

/* BEFORE DELETE FOR EACH ROW: the row is locked by now */
Datum
seckill_items_delete(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, "seckill_items_delete");
	int64		item_id = number_of(trigger, trigger->tg_trigtuple, "item_id");

	if (!is_replica())
		check_no_orders(item_id);
	seckill_xact_note_row(item_id, ROW_CHANGED);
	return PointerGetDatum(trigger->tg_trigtuple);
}


/*
 * seckill.orders
 */

/*
 * An order of the open lease is what a settle would count.  Once the lease is
 * closed its id never comes back, and the order is history.
 */
static void
check_lease_closed(int64 item_id, int64 lease_id)
{
	ItemRow		row;

	if (seckill_ledger_peek(item_id, &row) && row.leased > 0 &&
		row.lease_id == lease_id)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("order belongs to the open lease of item " INT64_FORMAT,
						item_id),
				 errhint("Close the lease first: SELECT seckill_recall(" INT64_FORMAT ").",
						 item_id)));
}

static void
order_updated(TriggerData *trigger, int64 item_id)
{
	if (differs(trigger, "item_id") || differs(trigger, "quantity") ||
		differs(trigger, "lease_id"))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("item_id, quantity and lease_id of an order cannot be changed")));
	if (seckill_xact_is_own(item_id))
		return;
	if (differs(trigger, "state"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("state of an order cannot be changed by hand"),
				 errhint("Use seckill_confirm() and seckill_cancel().")));
	note_time(trigger, trigger->tg_newtuple, "pay_by", 0);
}

/*
 * AFTER UPDATE of what an audit counts or the keeper goes by, and AFTER
 * DELETE, FOR EACH ROW
 */
Datum
seckill_orders_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, "seckill_orders_guard");
	HeapTuple	tuple = trigger->tg_trigtuple;
	int64		item_id = number_of(trigger, tuple, "item_id");

	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		order_updated(trigger, item_id);
	else
		check_lease_closed(item_id, number_of(trigger, tuple, "lease_id"));
	return PointerGetDatum(NULL);
}


/*
 * TRUNCATE of either
 */

static void
check_truncated(Oid table)
{
	LedgerCaller caller;

	seckill_ledger_begin(&caller);
	if (table == seckill_catalog()->items && seckill_ledger_any_order())
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("cannot truncate items that still have orders"),
				 errhint("Truncate both: TRUNCATE seckill.items, seckill.orders.")));
	if (table == seckill_catalog()->orders && seckill_ledger_any_lease())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot truncate orders while a lease is open"),
				 errhint("Close leases with seckill_recall(), or truncate both: TRUNCATE seckill.items, seckill.orders.")));
	seckill_ledger_end(&caller);
}

/* AFTER TRUNCATE FOR EACH STATEMENT */
Datum
seckill_truncated(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, "seckill_truncated");
	Oid			table = RelationGetRelid(trigger->tg_relation);

	if (!is_replica())
		check_truncated(table);
	if (table == seckill_catalog()->items)
		seckill_xact_note_emptied(table);
	SECKILL_FAULT("tables emptied");
	return PointerGetDatum(NULL);
}
