/*
 * process.h
 *		What all background processes of the extension share.
 */
#ifndef SECKILL_WORKER_PROCESS_H
#define SECKILL_WORKER_PROCESS_H

#include "utils/elog.h"

#include "base/clock.h"

/* The work of one transaction. */
typedef void (*ProcessTask) (void *arg);

/* Rate limit of one kind of log message; initialized with zeroes. */
typedef struct LogKind
{
	ClockTime	since;			/* start of the current period */
	int			lines;			/* logged in it */
} LogKind;

extern void seckill_process_init(void);
extern void seckill_process_interrupts(void);
extern void seckill_process_begin(int lock_timeout_ms);
extern void seckill_process_commit(void);
extern ErrorData *seckill_process_recover(MemoryContext context);
extern ErrorData *seckill_process_try(ProcessTask task, void *arg,
									  int lock_timeout_ms);
extern bool seckill_process_is_transient(const ErrorData *error);
extern bool seckill_process_run(ProcessTask task, void *arg,
								int lock_timeout_ms);
extern void seckill_process_sleep(int64 delay);
extern bool seckill_process_may_log(LogKind *kind, int max);

#endif							/* SECKILL_WORKER_PROCESS_H */
