/*
 * clock.h
 *		The monotonic clock, for durations.
 *
 * GetCurrentTimestamp() reads the wall clock, which can be set forward and
 * back.  It serves for times that tables and users know: the opening of a
 * sale, the end of the time to pay.  Durations, timeouts and the times of
 * retries are measured with the clock below.  Its times can be compared
 * between the processes of a server.  They mean nothing after a restart.
 */
#ifndef SECKILL_CLOCK_H
#define SECKILL_CLOCK_H

#include "portability/instr_time.h"

/* A time of this clock, in microseconds; 0 is before all others. */
typedef int64 ClockTime;

#define USECS(ms)		((int64) (ms) * 1000)

/* Later than any time and longer than any duration. */
#define SECKILL_NEVER	PG_INT64_MAX

static inline ClockTime
seckill_clock(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (ClockTime) INSTR_TIME_GET_MICROSEC(now);
}

#endif							/* SECKILL_CLOCK_H */
