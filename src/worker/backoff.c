/*
 * backoff.c
 *		Backoff of lock waits that time out.
 *
 * A background process waits for one contended row at a time, and meanwhile
 * other work gathers.  So each wait has a timeout.  A wait that timed out
 * doubles the timeout, up to a maximum, because a longer queue of buyers may
 * need it; and it is followed by a pause without waits, in proportion to its
 * length.  The state is a Backoff of the caller's, local to the process.
 */
#include "postgres.h"

#include "worker/backoff.h"

/* Is the pause after the last timeout over? */
bool
seckill_backoff_may_wait(const Backoff *backoff)
{
	return seckill_clock() >= backoff->next;
}

/* A wait that began at start has timed out. */
void
seckill_backoff_timed_out(Backoff *backoff, ClockTime start)
{
	ClockTime	now = seckill_clock();

	backoff->timeout_ms = Min(2 * backoff->timeout_ms, backoff->max_ms);
	backoff->next = now + backoff->spacing * (now - start);
}

/* Start again with the first timeout, without a pause. */
void
seckill_backoff_reset(Backoff *backoff)
{
	backoff->timeout_ms = backoff->min_ms;
	backoff->next = 0;
}
