/*
 * triggers.c
 *		Triggers on items, and on TRUNCATE: they restrict changes by plain SQL,
 *		and announce changes of an item to all sessions.  Those on orders are in
 *		order_triggers.c.
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
#include "utils/rel.h"

#include "api/trigger_data.h"
#include "base/catalog.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/number_set.h"
#include "base/settings.h"
#include "sale/item_legs.h"
#include "sale/lease.h"
#include "sale/place.h"
#include "sale/share.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/schedule.h"
#include "table/commitments.h"
#include "table/item_row.h"
#include "table/item_search.h"
#include "table/items.h"
#include "table/orders.h"
#include "table/plan.h"
#include "table/releases.h"
#include "table/seats.h"
#include "table/units.h"
#include "xact/changes.h"
#include "xact/entry.h"
#include "xact/hold.h"

PG_FUNCTION_INFO_V1(seckill_is_own);
PG_FUNCTION_INFO_V1(seckill_items_changed);
PG_FUNCTION_INFO_V1(seckill_items_delete);
PG_FUNCTION_INFO_V1(seckill_truncated);


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
	return seckill_trigger_number(trigger, tuple, "seal") ==
		seckill_item_seal(seckill_trigger_number(trigger, tuple, "item_id"),
						  seckill_trigger_number(trigger, tuple, "lease_id"),
						  seckill_trigger_number(trigger, tuple, "supplied"));
}

/*
 * Replace the columns that only the extension writes by those of a new item.
 */
static HeapTuple
item_as_new(TriggerData *trigger)
{
	static const char *const names[] = {
		"version", "leased", "lease_id", "supplied", "seal", "numbers",
		"off_sale", "place", "split_over"
	};
	HeapTuple	tuple = trigger->tg_trigtuple;
	int64		item_id = seckill_trigger_number(trigger, tuple, "item_id");
	int64		stock = seckill_trigger_number(trigger, tuple, "stock");
	bool		numbered = seckill_trigger_number(trigger, tuple, "numbered") != 0;
	NumberSet  *none = seckill_numbers_make();
	NumberSet  *all = seckill_numbers_make();
	Datum		values[] = {
		Int64GetDatum(0), Int32GetDatum(0), Int64GetDatum(0),
		Int64GetDatum(stock),
		Int64GetDatum(seckill_item_seal(item_id, 0, stock)),
		(Datum) 0, seckill_numbers_datum(none), (Datum) 0, (Datum) 0
	};
	bool		nulls[] = {false, false, true, false, false, !numbered,
	!numbered, true, true};
	int			columns[lengthof(names)];

	if (stock > 0)
		seckill_numbers_append(all, 1, (int32) stock);
	values[5] = seckill_numbers_datum(all);

	for (int i = 0; i < (int) lengthof(names); i++)
		columns[i] = seckill_trigger_column(trigger, names[i]);
	return heap_modify_tuple_by_cols(tuple,
									 RelationGetDescr(trigger->tg_relation),
									 lengthof(names), columns, values, nulls);
}

/*
 * Refuse a state from which buyers are told the values of their units that is
 * not pending or confirmed.  Once it is pending, it stays so: which numbers go
 * on sale again depends on whether their codes were told.
 */
static void
check_reveal_on(TriggerData *trigger, HeapTuple tuple)
{
	const Oid  *state = seckill_catalog()->state;
	Oid			reveal_on = (Oid) seckill_trigger_number(trigger, tuple,
														 "reveal_on");

	if (reveal_on != state[ORDER_PENDING] &&
		reveal_on != state[ORDER_CONFIRMED])
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("reveal_on of an item must be pending or confirmed")));
	if (reveal_on == state[ORDER_CONFIRMED] &&
		TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) &&
		seckill_trigger_differs(trigger, "reveal_on"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("reveal_on of an item cannot be changed from pending to confirmed"),
				 errdetail("Buyers of pending orders know the codes of their units.")));
}

/* The row to insert: as sent if replicated or sealed, else as a new item. */
static HeapTuple
item_inserted(TriggerData *trigger)
{
	if (seckill_trigger_is_replica())
		return trigger->tg_trigtuple;
	check_reveal_on(trigger, trigger->tg_trigtuple);
	if (is_sealed(trigger, trigger->tg_trigtuple))
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
	if (seckill_trigger_number(trigger, trigger->tg_newtuple, "version") <
		seckill_trigger_number(trigger, trigger->tg_trigtuple, "version"))
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
		"version", "leased", "lease_id", "supplied", "seal", "numbers",
		"off_sale"
	};

	if (seckill_trigger_differs(trigger, "item_id"))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("item_id of an item cannot be changed"),
				 errhint("Insert another item, and end the sale of this one.")));
	refuse_stale(trigger, item_id);
	if (seckill_trigger_differs(trigger, "place"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("place of an item cannot be changed by hand"),
				 errhint("seckill_move() moves an item to another node.")));
	if (seckill_trigger_differs(trigger, "split_over"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("split_over of an item cannot be changed by hand"),
				 errhint("seckill_split() splits an item over nodes.")));
	if (seckill_trigger_any_differs(trigger, kept, lengthof(kept)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("version, leased, lease_id, supplied, seal, numbers and off_sale of an item cannot be changed by hand"),
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

/*
 * Units of an item that is split over nodes are added at its home, and after
 * what this node has promised.
 */
static void
check_share(int64 item_id, int64 units)
{
	ItemRow		row;

	if (!seckill_item_read_latest(item_id, &row) || row.rules.split.n == 0)
		return;
	if (row.rules.legs > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("item " INT64_FORMAT ", which is split over nodes, cannot have seats",
						item_id)));
	if (units != 0)
		seckill_share_check_home(item_id, &row.rules);
	if (units > 0)
		seckill_share_await_promises(item_id, &row.rules);
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

/* Refuse to open the sale of an item again whose seeds are revealed. */
static void
check_secret(int64 item_id)
{
	TableCaller caller;

	seckill_table_begin(&caller);
	seckill_commitments_check_secret(item_id);
	seckill_table_end(&caller);
}

/* The legs of an item are changed. */
static void
change_legs(int64 item_id)
{
	TableCaller caller;

	seckill_table_begin(&caller);
	seckill_legs_change(item_id);
	seckill_table_end(&caller);
}

/* Check an UPDATE, and do what follows from a change of stock or limit. */
static void
item_updated(TriggerData *trigger, int64 item_id)
{
	int64		units = seckill_trigger_number(trigger, trigger->tg_newtuple, "stock") -
		seckill_trigger_number(trigger, trigger->tg_trigtuple, "stock");

	refuse_change(trigger, item_id);
	if (seckill_trigger_differs(trigger, "legs"))
		change_legs(item_id);
	seckill_place_require(item_id);
	check_reveal_on(trigger, trigger->tg_newtuple);
	if (seckill_trigger_number(trigger, trigger->tg_newtuple, "numbered") != 0 &&
		seckill_trigger_differs(trigger, "ends_at"))
		check_secret(item_id);
	check_share(item_id, units);
	add_supply(item_id, units);
	if (seckill_trigger_number(trigger, trigger->tg_trigtuple, "per_user_limit") == 0 &&
		seckill_trigger_number(trigger, trigger->tg_newtuple, "per_user_limit") != 0)
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
		"max_waiters", "reveal_on", "legs", "place", "split_over", "item_id"
	};

	if (seckill_trigger_differs(trigger, "stock") &&
		(!seckill_trigger_differs(trigger, "version") ||
		 seckill_trigger_number(trigger, trigger->tg_newtuple, "stock") >
		 seckill_trigger_number(trigger, trigger->tg_trigtuple, "stock")))
		return true;
	return seckill_trigger_any_differs(trigger, rules, lengthof(rules));
}

/*
 * Trigger on seckill.items: BEFORE INSERT, and AFTER UPDATE by a statement
 * other than the extension's, FOR EACH ROW.  Announces the change at commit.
 */
Datum
seckill_items_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = seckill_trigger_data(fcinfo, "seckill_items_changed");
	HeapTuple	tuple;
	HeapTuple	changed;
	int64		item_id;

	seckill_trigger_check((seckill_trigger_fired(trigger, BEFORE_INSERT_ROW) ||
					seckill_trigger_fired(trigger, AFTER_UPDATE_ROW)) &&
				   seckill_trigger_is_on(trigger, seckill_catalog()->items),
				   "seckill_items_changed",
				   "BEFORE INSERT or AFTER UPDATE on seckill.items, FOR EACH ROW");
	tuple = changed = trigger->tg_trigtuple;
	item_id = seckill_trigger_number(trigger, tuple, "item_id");
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		tuple = item_inserted(trigger);
	else
	{
		changed = trigger->tg_newtuple;
		if (!seckill_trigger_is_replica())
			item_updated(trigger, item_id);
		if (!concerns_buyers(trigger))
			return PointerGetDatum(tuple);
		SECKILL_FAULT("change of an item followed up");
	}
	seckill_change_note_row(item_id, ROW_CHANGED);
	seckill_trigger_note_time(trigger, changed, "starts_at", USECS(seckill_open_ahead));
	return PointerGetDatum(tuple);
}

/* Raise an error if the item has orders. */
static void
refuse_if_ordered(int64 item_id)
{
	if (seckill_orders_exist(item_id))
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("item " INT64_FORMAT " still has orders", item_id),
				 errhint("Set ends_at to end its sale, or delete its orders first.")));
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
	refuse_if_ordered(item_id);
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

/* Raise an error if the item is on its way from or to another node, or split. */
static void
check_not_moving(int64 item_id)
{
	ItemRow		row;

	if (!seckill_item_read_latest(item_id, &row))
		return;
	if (row.rules.place != PLACE_HERE && row.rules.place != PLACE_GONE)
		seckill_item_elsewhere(item_id, row.rules.place);
	if (row.rules.split.n > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("item " INT64_FORMAT " is split over nodes", item_id),
				 errhint("CALL seckill_unsplit() on its home first.")));
}

/*
 * Delete the units, commitments, releases and seats of a deleted item.  This is
 * not done before: a trigger of the application's may have kept the item.
 */
static void
delete_parts(int64 item_id)
{
	TableCaller caller;

	seckill_table_begin(&caller);
	seckill_units_delete(item_id);
	seckill_commitments_delete(item_id);
	seckill_releases_delete(item_id);
	seckill_seats_delete(item_id);
	SECKILL_FAULT("parts of an item deleted");
	/* a booking that was under way had a seat, so that delete has waited */
	refuse_if_ordered(item_id);
	seckill_table_end(&caller);
}

/*
 * Trigger on seckill.items: BEFORE and AFTER DELETE FOR EACH ROW.  DELETE has
 * locked the row before the first one fires.
 */
Datum
seckill_items_delete(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = seckill_trigger_data(fcinfo, "seckill_items_delete");
	int64		item_id;

	seckill_trigger_check((seckill_trigger_fired(trigger, BEFORE_DELETE_ROW) ||
						   seckill_trigger_fired(trigger, AFTER_DELETE_ROW)) &&
						  seckill_trigger_is_on(trigger, seckill_catalog()->items),
						  "seckill_items_delete",
						  "BEFORE or AFTER DELETE on seckill.items, FOR EACH ROW");
	item_id = seckill_trigger_number(trigger, trigger->tg_trigtuple, "item_id");
	if (TRIGGER_FIRED_AFTER(trigger->tg_event))
	{
		if (!seckill_trigger_is_replica())
			delete_parts(item_id);
		return PointerGetDatum(NULL);
	}
	if (!seckill_trigger_is_replica())
	{
		check_not_moving(item_id);
		check_not_at_work(item_id);
		check_no_orders(item_id);
	}
	seckill_change_note_row(item_id, ROW_CHANGED);
	return PointerGetDatum(trigger->tg_trigtuple);
}


/*
 * TRUNCATE
 */

/*
 * Refuse to truncate items that have orders, units, prizes, commitments,
 * releases or seats, orders while a lease is open, orders, units, prizes or
 * commitments of numbered items, releases of items, and seats with orders.  All
 * tables can be truncated in one statement: the triggers fire after it.
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
	if (table == seckill_catalog()->items && seckill_units_any())
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("cannot truncate items that still have units"),
				 errhint("Truncate them together: TRUNCATE seckill.items, seckill.orders, seckill.units.")));
	if (table == seckill_catalog()->items && seckill_seats_any())
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("cannot truncate items that still have seats"),
				 errhint("Truncate them together: TRUNCATE seckill.items, seckill.orders, seckill.seats.")));
	if (table == seckill_catalog()->seats && seckill_seats_any_sold())
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("cannot truncate seats that still have orders"),
				 errhint("Truncate them together: TRUNCATE seckill.items, seckill.orders, seckill.seats.")));
	if (table == seckill_catalog()->items &&
		(seckill_prizes_any() || seckill_commitments_any()))
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("cannot truncate items that still have prizes or commitments"),
				 errhint("Truncate them together: TRUNCATE seckill.items, seckill.orders, seckill.units, seckill.prizes, seckill.commitments.")));
	if ((table == seckill_catalog()->prizes ||
		 table == seckill_catalog()->commitments) &&
		seckill_items_any_numbered())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot truncate prizes or commitments of items whose units have numbers"),
				 errhint("They are deleted with their item.")));
	if ((table == seckill_catalog()->orders ||
		 table == seckill_catalog()->units) && seckill_items_any_numbered())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot truncate orders or units of items whose units have numbers"),
				 errhint("Delete orders instead, or truncate all together: TRUNCATE seckill.items, seckill.orders, seckill.units.")));
	if (table == seckill_catalog()->orders && seckill_items_any_lease())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot truncate orders while a lease is open"),
				 errhint("Close leases with seckill_recall(), or truncate both: TRUNCATE seckill.items, seckill.orders.")));
	if (table == seckill_catalog()->items && seckill_releases_any())
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("cannot truncate items that still have releases"),
				 errhint("Truncate all: TRUNCATE seckill.items, seckill.orders, seckill.releases.")));
	if (table == seckill_catalog()->releases && seckill_items_any())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot truncate releases of items"),
				 errhint("To cancel those that are not done, DELETE FROM seckill.releases WHERE done_at IS NULL.")));
	seckill_table_end(&caller);
}

/*
 * Trigger on the tables of the extension: AFTER TRUNCATE FOR EACH STATEMENT.
 * The cache drops the entries of truncated items, and the maps of truncated
 * seats, at commit.
 */
Datum
seckill_truncated(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = seckill_trigger_data(fcinfo, "seckill_truncated");
	Oid			table;

	seckill_trigger_check(seckill_trigger_fired(trigger, AFTER_TRUNCATE) &&
				   (seckill_trigger_is_on(trigger, seckill_catalog()->items) ||
					seckill_trigger_is_on(trigger, seckill_catalog()->orders) ||
					seckill_trigger_is_on(trigger, seckill_catalog()->units) ||
					seckill_trigger_is_on(trigger, seckill_catalog()->releases) ||
					seckill_trigger_is_on(trigger, seckill_catalog()->seats) ||
					seckill_trigger_is_on(trigger, seckill_catalog()->prizes) ||
					seckill_trigger_is_on(trigger, seckill_catalog()->commitments)),
				   "seckill_truncated",
				   "AFTER TRUNCATE on seckill.items, seckill.orders, seckill.units, seckill.releases, seckill.seats, seckill.prizes or seckill.commitments");
	table = RelationGetRelid(trigger->tg_relation);
	if (!seckill_trigger_is_replica())
		check_truncated(table);
	if (table == seckill_catalog()->items)
		seckill_change_note_emptied(table);
	if (table == seckill_catalog()->seats)
		seckill_change_note_all_rows();
	SECKILL_FAULT("tables emptied");
	return PointerGetDatum(NULL);
}
