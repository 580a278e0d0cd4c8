/*
 * backoff.h
 *		Backoff of lock waits that time out.
 */
#ifndef SECKILL_WORKER_BACKOFF_H
#define SECKILL_WORKER_BACKOFF_H

#include "base/clock.h"

typedef struct Backoff
{
	int			min_ms;			/* the first timeout */
	int			max_ms;			/* the longest timeout */
	int			spacing;		/* pause, in multiples of the last wait */
	int			timeout_ms;		/* the next timeout */
	ClockTime	next;			/* no wait before this time */
} Backoff;

#define BACKOFF_INIT(min_ms, max_ms, spacing) \
	{(min_ms), (max_ms), (spacing), (min_ms), 0}

extern bool seckill_backoff_may_wait(const Backoff *backoff);
extern void seckill_backoff_timed_out(Backoff *backoff, ClockTime start);
extern void seckill_backoff_reset(Backoff *backoff);

#endif							/* SECKILL_WORKER_BACKOFF_H */
