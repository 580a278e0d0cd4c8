/*
 * standby.h
 *		Waits until what others have committed is on disk, or on a standby.
 */
#ifndef SECKILL_XACT_STANDBY_H
#define SECKILL_XACT_STANDBY_H

#include "access/transam.h"

extern void seckill_standby_await_flush(TransactionId xid, bool always);
extern void seckill_standby_flush_seen(void);
extern bool seckill_standby_is_awaited(void);
extern void seckill_standby_await(void);

#endif							/* SECKILL_XACT_STANDBY_H */
