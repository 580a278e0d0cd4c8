/*
 * expiry.h
 *		Expiry of unpaid orders, a task of the maintenance worker.
 */
#ifndef SECKILL_WORKER_EXPIRY_H
#define SECKILL_WORKER_EXPIRY_H

#include "datatype/timestamp.h"

/*
 * Interval between two turns of the maintenance worker that has work, in ms.
 */
#define SECKILL_MAINTENANCE_NAP	100

extern bool seckill_expiry_has_deferred(void);
extern int64 seckill_expiry_run(TimestampTz now);

#endif							/* SECKILL_WORKER_EXPIRY_H */
