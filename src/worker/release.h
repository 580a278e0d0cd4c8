/*
 * release.h
 *		Scheduled releases, a task of the maintenance worker.
 */
#ifndef SECKILL_WORKER_RELEASE_H
#define SECKILL_WORKER_RELEASE_H

#include "datatype/timestamp.h"

extern bool seckill_release_has_deferred(void);
extern int64 seckill_release_run(TimestampTz now, int64 urgent);

#endif							/* SECKILL_WORKER_RELEASE_H */
