/*
 * trigger_data.c
 *		What the triggers have in common: their protocol, and columns of the row
 *		before and after.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/rel.h"

#include "api/trigger_data.h"
#include "base/catalog.h"
#include "shmem/schedule.h"

/*
 * The trigger data of a call.  Raises an error if it is not a trigger call or
 * runs in parallel mode.
 */
TriggerData *
seckill_trigger_data(FunctionCallInfo fcinfo, const char *name)
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
void
seckill_trigger_check(bool right, const char *name, const char *way)
{
	if (!right)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" can only be called %s", name, way)));
}

/* Does the firing have this event, timing and level, row or statement? */
bool
seckill_trigger_fired(const TriggerData *trigger, TriggerEvent event)
{
	return (trigger->tg_event & (TRIGGER_EVENT_OPMASK | TRIGGER_EVENT_ROW |
								 TRIGGER_EVENT_TIMINGMASK)) == event;
}

/* Is the trigger on this table? */
bool
seckill_trigger_is_on(const TriggerData *trigger, Oid table)
{
	return RelationGetRelid(trigger->tg_relation) == table;
}

/*
 * Return the number of a column; seckill_catalog() has checked that it exists.
 */
int
seckill_trigger_column(TriggerData *trigger, const char *name)
{
	return seckill_catalog_column(RelationGetRelid(trigger->tg_relation),
								  name);
}

/* An integer column of the tuple, or a timestamp; 0 for NULL. */
int64
seckill_trigger_number(TriggerData *trigger, HeapTuple tuple, const char *name)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	int			column = seckill_trigger_column(trigger, name);
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, desc, &isnull);

	if (isnull)
		return 0;
	return TupleDescAttr(desc, column - 1)->attlen == sizeof(int32) ?
		DatumGetInt32(value) : DatumGetInt64(value);
}

/* Has the UPDATE changed this column? */
bool
seckill_trigger_differs(TriggerData *trigger, const char *name)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	int			column = seckill_trigger_column(trigger, name);
	Form_pg_attribute att = TupleDescAttr(desc, column - 1);
	bool		was_null;
	bool		is_null;
	Datum		was = heap_getattr(trigger->tg_trigtuple, column, desc, &was_null);
	Datum		is = heap_getattr(trigger->tg_newtuple, column, desc, &is_null);

	if (was_null || is_null)
		return was_null != is_null;
	return !datum_image_eq(was, is, att->attbyval, att->attlen);
}

/* Has the UPDATE changed any of these columns? */
bool
seckill_trigger_any_differs(TriggerData *trigger,
							const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (seckill_trigger_differs(trigger, names[i]))
			return true;
	return false;
}

/* Does a replication worker apply the change? */
bool
seckill_trigger_is_replica(void)
{
	return SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA;
}

/*
 * Wake the maintenance worker before (in microseconds) the time in a column,
 * if the column has a finite time.
 */
void
seckill_trigger_note_time(TriggerData *trigger, HeapTuple tuple, const char *name,
						  int64 before)
{
	TimestampTz time = seckill_trigger_number(trigger, tuple, name);

	if (time != 0 && !TIMESTAMP_NOT_FINITE(time))
		seckill_schedule_note(time - before);
}
