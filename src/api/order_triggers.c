/*
 * order_triggers.c
 *		Triggers on orders, and on units, prizes and commitments: they restrict
 *		changes by plain SQL, and keep the books when orders are deleted.
 *
 * With session_replication_role = replica they do nothing: the publisher did.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/rel.h"

#include "api/trigger_data.h"
#include "base/catalog.h"
#include "base/fault.h"
#include "sale/place.h"
#include "seckill.h"
#include "table/commitments.h"
#include "table/item_row.h"
#include "table/numbered_items.h"
#include "table/plan.h"
#include "xact/changes.h"

PG_FUNCTION_INFO_V1(seckill_orders_guard);
PG_FUNCTION_INFO_V1(seckill_orders_deleted);
PG_FUNCTION_INFO_V1(seckill_units_guard);
PG_FUNCTION_INFO_V1(seckill_prizes_guard);

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
									 seckill_trigger_column(trigger, "state"), desc,
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
		"created_at", "request_id", "seats", "seat_legs"
	};
	static const char *const own[] = {
		"state", "limited", "unit", "redeemed_at", "redeemed_from"
	};

	if (seckill_trigger_any_differs(trigger, facts, lengthof(facts)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("item_id, order_id, user_id, quantity, mode, lease_id, created_at, request_id, seats and seat_legs of an order cannot be changed")));
	if (seckill_change_is_own(item_id))
		return;
	if (seckill_trigger_any_differs(trigger, own, lengthof(own)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("state, limited, unit, redeemed_at and redeemed_from of an order cannot be changed by hand"),
				 errhint("Use seckill_confirm(), seckill_cancel(), seckill_redeem() and seckill_release().")));
	if (!seckill_trigger_differs(trigger, "pay_by"))
		return;
	if (!was_pending(trigger))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pay_by of an order that is not pending cannot be changed"),
				 errhint("An expired order can still be paid: seckill_confirm() takes its units again, if there are any.")));
	seckill_place_enter(item_id);
	seckill_trigger_note_time(trigger, trigger->tg_newtuple, "pay_by", 0);
}

/*
 * Trigger on seckill.orders: AFTER UPDATE, and AFTER DELETE of an order of a
 * lease, FOR EACH ROW.
 */
Datum
seckill_orders_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = seckill_trigger_data(fcinfo, "seckill_orders_guard");
	HeapTuple	tuple = trigger->tg_trigtuple;
	int64		item_id;

	seckill_trigger_check((seckill_trigger_fired(trigger, AFTER_UPDATE_ROW) ||
					seckill_trigger_fired(trigger, AFTER_DELETE_ROW)) &&
				   seckill_trigger_is_on(trigger, seckill_catalog()->orders),
				   "seckill_orders_guard",
				   "AFTER UPDATE or DELETE on seckill.orders, FOR EACH ROW");
	item_id = seckill_trigger_number(trigger, tuple, "item_id");
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		order_updated(trigger, item_id);
	else
		check_lease_closed(item_id, seckill_trigger_number(trigger, tuple, "lease_id"));
	return PointerGetDatum(NULL);
}

/*
 * Trigger on seckill.orders: AFTER DELETE FOR EACH STATEMENT, with the deleted
 * rows as transition table "deleted".  The numbers of deleted orders, live or
 * not, go off sale for good, and their units are no longer supplied.
 */
Datum
seckill_orders_deleted(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = seckill_trigger_data(fcinfo,
												"seckill_orders_deleted");
	TableCaller caller;

	seckill_trigger_check(seckill_trigger_fired(trigger, AFTER_DELETE_STATEMENT) &&
						  trigger->tg_oldtable != NULL &&
						  seckill_trigger_is_on(trigger, seckill_catalog()->orders),
						  "seckill_orders_deleted",
						  "AFTER DELETE on seckill.orders, FOR EACH STATEMENT, with a transition table");
	if (!seckill_trigger_is_replica())
	{
		seckill_table_begin(&caller);
		seckill_numbered_strike(trigger);
		SECKILL_FAULT("numbers of deleted orders struck off");
		seckill_table_end(&caller);
	}
	return PointerGetDatum(NULL);
}

/*
 * Trigger on seckill.units and seckill.commitments: BEFORE UPDATE or DELETE FOR
 * EACH STATEMENT, by others than the extension.  A value is fixed before the
 * sale, and so is a commitment to it; both go with their item.
 */
Datum
seckill_units_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = seckill_trigger_data(fcinfo, "seckill_units_guard");

	seckill_trigger_check((trigger->tg_event & TRIGGER_EVENT_ROW) == 0 &&
						  TRIGGER_FIRED_BEFORE(trigger->tg_event) &&
						  (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ||
						   TRIGGER_FIRED_BY_DELETE(trigger->tg_event)) &&
						  (seckill_trigger_is_on(trigger, seckill_catalog()->units) ||
						   seckill_trigger_is_on(trigger, seckill_catalog()->commitments)),
						  "seckill_units_guard",
						  "BEFORE UPDATE or DELETE on seckill.units or seckill.commitments, FOR EACH STATEMENT");
	if (!seckill_trigger_is_replica())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s cannot be changed or deleted by hand",
						RelationGetRelationName(trigger->tg_relation)),
				 errhint("Values are fixed before the sale. seckill_close() takes units off sale; a deleted item takes its units with it.")));
	return PointerGetDatum(NULL);
}

/* Raise an error if the item has a commitment. */
static void
check_not_committed(int64 item_id)
{
	TableCaller caller;

	seckill_table_begin(&caller);
	if (seckill_commitments_exist(item_id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("prizes of item " INT64_FORMAT " cannot be changed",
						item_id),
				 errdetail("A commitment covers them."),
				 errhint("Insert other prizes, for units that are added later.")));
	seckill_table_end(&caller);
}

/*
 * Trigger on seckill.prizes: BEFORE UPDATE or DELETE FOR EACH ROW, by others
 * than the extension.  Inserting prizes breaks no commitment: those that one
 * covers were there when it was made.
 */
Datum
seckill_prizes_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = seckill_trigger_data(fcinfo,
												"seckill_prizes_guard");

	seckill_trigger_check((seckill_trigger_fired(trigger, BEFORE_UPDATE_ROW) ||
						   seckill_trigger_fired(trigger, BEFORE_DELETE_ROW)) &&
						  seckill_trigger_is_on(trigger, seckill_catalog()->prizes),
						  "seckill_prizes_guard",
						  "BEFORE UPDATE or DELETE on seckill.prizes, FOR EACH ROW");
	if (!seckill_trigger_is_replica())
		check_not_committed(seckill_trigger_number(trigger, trigger->tg_trigtuple,
												   "item_id"));
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
						   trigger->tg_newtuple : trigger->tg_trigtuple);
}
