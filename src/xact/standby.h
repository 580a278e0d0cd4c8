/*
 * standby.h
 *		TODO
 */
#ifndef SECKILL_XACT_STANDBY_H
#define SECKILL_XACT_STANDBY_H

#include "access/transam.h"

extern void seckill_xact_await_flush(TransactionId xid, bool always);
extern void seckill_xact_flush_seen(void);
extern bool seckill_xact_waits_for_standby(void);
extern void seckill_xact_await_standby(void);

#endif							/* SECKILL_XACT_STANDBY_H */
