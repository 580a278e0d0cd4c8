/*
 * process.h
 *		TODO
 */
#ifndef SECKILL_WORKER_PROCESS_H
#define SECKILL_WORKER_PROCESS_H

#include "utils/elog.h"

#include "base/clock.h"

/* What a transaction does. */
typedef void (*ProcessTask) (void *arg);

/* Messages of a kind that were logged of late; zeroes at first. */
typedef struct LogKind
{
	ClockTime	since;
	int			lines;
} LogKind;

extern void seckill_process_init(void);
extern void seckill_process_interrupts(void);
extern void seckill_process_begin(int lock_timeout_ms);
extern void seckill_process_commit(void);
extern ErrorData *seckill_process_recover(MemoryContext context);
extern ErrorData *seckill_process_try(ProcessTask task, void *arg,
									  int lock_timeout_ms);
extern bool seckill_process_is_passing(const ErrorData *error);
extern bool seckill_process_run_soon(ProcessTask task, void *arg,
									 int lock_timeout_ms);
extern void seckill_process_sleep(int64 delay);
extern bool seckill_process_may_log(LogKind *kind, int max);

#endif							/* SECKILL_WORKER_PROCESS_H */
