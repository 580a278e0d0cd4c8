/*
 * schedule.h
 *		When each database needs its maintenance worker next.
 */
#ifndef SECKILL_SHMEM_SCHEDULE_H
#define SECKILL_SHMEM_SCHEDULE_H

#include "datatype/timestamp.h"

#include "base/clock.h"
#include "base/shmem.h"

/*
 * A maintenance worker that is to keep a time exactly is started so long before
 * it, in microseconds.
 */
#define SECKILL_START_AHEAD	USECS(1000)

extern const SeckillShmem seckill_schedule_shmem;
extern void seckill_schedule_drop_database(Oid dbid);
extern void seckill_schedule_note(TimestampTz time);
extern void seckill_schedule_end(bool committed);
extern bool seckill_schedule_attend(void);
extern void seckill_schedule_take(void);
extern void seckill_schedule_put(TimestampTz time);
extern void seckill_schedule_look(int64 delay);
extern int64 seckill_schedule_delay(void);
extern void seckill_schedule_worked(void);
extern void seckill_schedule_failed(void);
extern void seckill_schedule_leave(void);
extern void seckill_schedule_launcher(void);
extern void seckill_schedule_visit(Oid dbid, int64 delay);
extern bool seckill_schedule_read(int i, Oid *dbid, int64 *delay);
extern void seckill_schedule_handled(int i);

#endif							/* SECKILL_SHMEM_SCHEDULE_H */
