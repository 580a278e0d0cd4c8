/*
 * seat_triggers.c
 *		Trigger on seats: what orders have taken cannot be changed by hand, and
 *		all sessions learn of a change.
 *
 * A row can be inserted with taken set, as a restore does; whoever does so by
 * mistake finds it in seckill_audit_seats().
 */
#include "postgres.h"

#include "utils/rel.h"

#include "api/trigger_data.h"
#include "base/catalog.h"
#include "base/fault.h"
#include "sale/item_legs.h"
#include "sale/place.h"
#include "xact/changes.h"

PG_FUNCTION_INFO_V1(seckill_seats_changed);

#define AFTER_INSERT_ROW \
	(TRIGGER_EVENT_INSERT | TRIGGER_EVENT_AFTER | TRIGGER_EVENT_ROW)

/* Refuse an UPDATE of what bookings write, or of the key. */
static void
check_update(TriggerData *trigger)
{
	if (seckill_trigger_differs(trigger, "taken"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("taken of a seat cannot be changed by hand"),
				 errhint("Take seats off sale with seckill_block_seats(), and put them back with seckill_cancel().")));
	if (seckill_trigger_differs(trigger, "item_id") || seckill_trigger_differs(trigger, "seat"))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("item_id and seat of a seat cannot be changed"),
				 errhint("Delete the seat, and insert another.")));
}

/* Refuse to delete a seat that orders have, unless with its item. */
static void
check_delete(TriggerData *trigger, int64 item_id)
{
	if (seckill_trigger_number(trigger, trigger->tg_trigtuple, "taken") != 0 &&
		!seckill_change_is_own(item_id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("seat " INT64_FORMAT " of item " INT64_FORMAT " is taken",
						seckill_trigger_number(trigger, trigger->tg_trigtuple, "seat"),
						item_id),
				 errhint("Cancel its orders first.")));
}

/*
 * Trigger on seckill.seats: AFTER INSERT, AFTER DELETE, and AFTER UPDATE by a
 * statement other than the extension's, FOR EACH ROW.  At commit the map of
 * the item is forgotten.
 */
Datum
seckill_seats_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = seckill_trigger_data(fcinfo, "seckill_seats_changed");
	int64		item_id;

	seckill_trigger_check((seckill_trigger_fired(trigger, AFTER_INSERT_ROW) ||
					seckill_trigger_fired(trigger, AFTER_UPDATE_ROW) ||
					seckill_trigger_fired(trigger, AFTER_DELETE_ROW)) &&
				   seckill_trigger_is_on(trigger, seckill_catalog()->seats),
				   "seckill_seats_changed",
				   "AFTER INSERT, UPDATE or DELETE on seckill.seats, FOR EACH ROW");
	item_id = seckill_trigger_number(trigger, trigger->tg_trigtuple, "item_id");
	if (!seckill_trigger_is_replica() && TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		check_update(trigger);
	if (!seckill_trigger_is_replica() && TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		check_delete(trigger, item_id);
	if (!seckill_trigger_is_replica() && TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		seckill_legs_keep();
	if (!seckill_trigger_is_replica() && !seckill_change_is_own(item_id))
		seckill_place_enter(item_id);
	seckill_change_note_row(item_id, ROW_CHANGED);
	SECKILL_FAULT("change of a seat noted");
	return PointerGetDatum(NULL);
}
