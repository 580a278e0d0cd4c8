/*
 * bgworker.h
 *		Registration of the extension's background workers.
 */
#ifndef SECKILL_BASE_BGWORKER_H
#define SECKILL_BASE_BGWORKER_H

#include "postmaster/bgworker.h"

extern void seckill_process_describe(BackgroundWorker *worker,
									 const char *type, const char *function);
extern bool seckill_bgworker_register(const char *type,
									  const char *function);

#endif							/* SECKILL_BASE_BGWORKER_H */
