/*
 * trigger_data.h
 *		What the triggers have in common.
 */
#ifndef SECKILL_API_TRIGGER_DATA_H
#define SECKILL_API_TRIGGER_DATA_H

#include "commands/trigger.h"

#define BEFORE_INSERT_ROW \
	(TRIGGER_EVENT_INSERT | TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_ROW)
#define BEFORE_UPDATE_ROW \
	(TRIGGER_EVENT_UPDATE | TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_ROW)
#define BEFORE_DELETE_ROW \
	(TRIGGER_EVENT_DELETE | TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_ROW)
#define AFTER_INSERT_ROW \
	(TRIGGER_EVENT_INSERT | TRIGGER_EVENT_AFTER | TRIGGER_EVENT_ROW)
#define AFTER_UPDATE_ROW \
	(TRIGGER_EVENT_UPDATE | TRIGGER_EVENT_AFTER | TRIGGER_EVENT_ROW)
#define AFTER_DELETE_ROW \
	(TRIGGER_EVENT_DELETE | TRIGGER_EVENT_AFTER | TRIGGER_EVENT_ROW)
#define AFTER_DELETE_STATEMENT \
	(TRIGGER_EVENT_DELETE | TRIGGER_EVENT_AFTER)
#define AFTER_TRUNCATE \
	(TRIGGER_EVENT_TRUNCATE | TRIGGER_EVENT_AFTER)

extern TriggerData *seckill_trigger_data(FunctionCallInfo fcinfo,
										 const char *name);
extern void seckill_trigger_check(bool right, const char *name,
								  const char *way);
extern bool seckill_trigger_fired(const TriggerData *trigger,
								  TriggerEvent event);
extern bool seckill_trigger_is_on(const TriggerData *trigger, Oid table);
extern int	seckill_trigger_column(TriggerData *trigger, const char *name);
extern int64 seckill_trigger_number(TriggerData *trigger, HeapTuple tuple,
									const char *name);
extern bool seckill_trigger_differs(TriggerData *trigger, const char *name);
extern bool seckill_trigger_any_differs(TriggerData *trigger,
										const char *const *names, int n);
extern bool seckill_trigger_is_replica(void);
extern void seckill_trigger_note_time(TriggerData *trigger, HeapTuple tuple,
									  const char *name, int64 before);

#endif							/* SECKILL_API_TRIGGER_DATA_H */
