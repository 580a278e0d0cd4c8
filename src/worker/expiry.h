/*
 * expiry.h
 *		TODO
 */
#ifndef SECKILL_WORKER_EXPIRY_H
#define SECKILL_WORKER_EXPIRY_H

#include "datatype/timestamp.h"

/* How often the keeper looks, in ms, unless there is more than a batch. */
#define SECKILL_MAINTENANCE_NAP	100

extern bool seckill_expiry_remembers(void);
extern int64 seckill_expiry_run(TimestampTz now);

#endif							/* SECKILL_WORKER_EXPIRY_H */
