/*
 * expiry.h
 *		Expiry of unpaid orders, a task of the maintenance worker.
 */
#ifndef SECKILL_WORKER_EXPIRY_H
#define SECKILL_WORKER_EXPIRY_H

#include "datatype/timestamp.h"

extern bool seckill_expiry_has_deferred(void);
extern int64 seckill_expiry_run(TimestampTz now, int64 urgent);

#endif							/* SECKILL_WORKER_EXPIRY_H */
