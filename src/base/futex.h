/*
 * futex.h
 *		Sleeping until another process changes a word of shared memory.
 *
 * A latch is woken by a signal, which is received through a descriptor that is
 * waited for with two sets of events and read empty: several system calls on
 * either side.  Where the kernel can wait for a word of memory, one will do.
 *
 * A signal ends the sleep.  One that arrives just before it, after the caller
 * has looked for interrupts, does not; hence the sleep is never longer than
 * FUTEX_SLEEP_MS.  On other systems this is a latch.
 */
#ifndef SECKILL_FUTEX_H
#define SECKILL_FUTEX_H

#define FUTEX_SLEEP_MS	100

#ifdef __linux__

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"

/*
 * On systems of 32 bits SYS_futex reads seconds of 32 bits, and where time_t has
 * 64 there, it would take a timeout for none.  Newer ones may have no other call.
 */
#ifndef SYS_futex
#define FUTEX_CALL	SYS_futex_time64
#elif defined(SYS_futex_time64)
#define FUTEX_CALL \
	(sizeof(time_t) > sizeof(long) ? SYS_futex_time64 : SYS_futex)
#else
#define FUTEX_CALL	SYS_futex
#endif

/*
 * Sleep for a while, at most until the word is not value any more.  A kernel
 * that refuses the call must not have us look at the word all the time.
 */
static inline void
seckill_futex_sleep(pg_atomic_uint32 *word, uint32 value, uint32 wait_event)
{
	struct timespec timeout = {.tv_nsec = FUTEX_SLEEP_MS * 1000000L};
	long		rc;

	pgstat_report_wait_start(wait_event);
	rc = syscall(FUTEX_CALL, &word->value, FUTEX_WAIT, value, &timeout, NULL, 0);
	if (rc != 0 && errno != EAGAIN && errno != EINTR)
	{
		if (errno != ETIMEDOUT)
			pg_usleep(1000);
		if (!PostmasterIsAlive())
			proc_exit(1);
	}
	pgstat_report_wait_end();
}

/* Wake the process that sleeps until the word changes. */
static inline void
seckill_futex_wake(pg_atomic_uint32 *word, int proc)
{
	(void) syscall(FUTEX_CALL, &word->value, FUTEX_WAKE, 1, NULL, NULL, 0);
}

#else

#include "storage/latch.h"

static inline void
seckill_futex_sleep(pg_atomic_uint32 *word, uint32 value, uint32 wait_event)
{
	if (pg_atomic_read_u32(word) == value)
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 FUTEX_SLEEP_MS, wait_event);
	ResetLatch(MyLatch);
}

static inline void
seckill_futex_wake(pg_atomic_uint32 *word, int proc)
{
	SetLatch(&GetPGProcByNumber(proc)->procLatch);
}

#endif

#endif							/* SECKILL_FUTEX_H */
