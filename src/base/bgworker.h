/*
 * bgworker.h
 *		Registration of the extension's background workers.
 */
#ifndef SECKILL_BASE_BGWORKER_H
#define SECKILL_BASE_BGWORKER_H

#include "postmaster/bgworker.h"

extern void seckill_process_describe(BackgroundWorker *worker,
									 const char *type, const char *function);
extern bool seckill_queue_worker_register(void);

#endif							/* SECKILL_BASE_BGWORKER_H */
