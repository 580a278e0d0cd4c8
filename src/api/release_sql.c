/*
 * release_sql.c
 *		Trigger on seckill.releases: it protects what is done, and announces what
 *		is planned to the maintenance worker.
 *
 * Rows that are not done are the administrator's.  The statement of the
 * extension that marks them done fires the trigger, too.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"

#include "api/trigger_data.h"
#include "base/catalog.h"
#include "sale/place.h"
#include "sale/share.h"
#include "seckill.h"
#include "shmem/schedule.h"
#include "table/item_row.h"
#include "xact/changes.h"

PG_FUNCTION_INFO_V1(seckill_releases_guard);

/* Is the release done? */
static bool
is_done(TriggerData *trigger, HeapTuple tuple)
{
	bool		isnull;

	(void) heap_getattr(tuple, seckill_trigger_column(trigger, "done_at"),
						RelationGetDescr(trigger->tg_relation), &isnull);
	return !isnull;
}

/*
 * Refuse to change or delete a release that is done, or to mark one done.  A
 * row that is inserted may be done: a restored dump has such rows, and no unit
 * moves.
 */
static void
check_release(TriggerData *trigger)
{
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		seckill_change_is_own(seckill_trigger_number(trigger, trigger->tg_trigtuple, "item_id")))
		return;
	if (is_done(trigger, trigger->tg_trigtuple))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("release " INT64_FORMAT " of item " INT64_FORMAT " is done and cannot be changed",
						seckill_trigger_number(trigger, trigger->tg_trigtuple, "release_id"),
						seckill_trigger_number(trigger, trigger->tg_trigtuple, "item_id")),
				 errhint("Take units off sale with seckill_restock(). Releases that are done are deleted with their item.")));
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) &&
		is_done(trigger, trigger->tg_newtuple))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("done_at of a release cannot be set by hand"),
				 errhint("Set release_at to now() to release its units, or delete the row to cancel it.")));
}

/* Units of an item that is split over nodes are released at its home. */
static void
check_home(int64 item_id)
{
	ItemRow		row;

	if (seckill_item_read_latest(item_id, &row))
		seckill_share_check_home(item_id, &row.rules);
}

/*
 * Trigger on seckill.releases: AFTER INSERT, UPDATE or DELETE, FOR EACH ROW.
 * Wakes the maintenance worker ahead of what is to be released.
 */
Datum
seckill_releases_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = seckill_trigger_data(fcinfo, "seckill_releases_guard");
	HeapTuple	tuple = trigger->tg_trigtuple;

	seckill_trigger_check((seckill_trigger_fired(trigger, AFTER_INSERT_ROW) ||
					seckill_trigger_fired(trigger, AFTER_UPDATE_ROW) ||
					seckill_trigger_fired(trigger, AFTER_DELETE_ROW)) &&
				   seckill_trigger_is_on(trigger, seckill_catalog()->releases),
				   "seckill_releases_guard",
				   "AFTER INSERT, UPDATE or DELETE on seckill.releases, FOR EACH ROW");
	if (!seckill_trigger_is_replica())
	{
		int64		item_id = seckill_trigger_number(trigger, tuple, "item_id");

		check_release(trigger);
		if (!seckill_change_is_own(item_id))
			seckill_place_enter(item_id);
		if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) && !is_done(trigger, tuple))
			check_home(item_id);
	}
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		tuple = trigger->tg_newtuple;
	if (!TRIGGER_FIRED_BY_DELETE(trigger->tg_event) && !is_done(trigger, tuple))
		seckill_trigger_note_time(trigger, tuple, "release_at", SECKILL_START_AHEAD);
	return PointerGetDatum(NULL);
}
