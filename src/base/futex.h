/*
 * futex.h
 *		Sleeping until another process changes a word of shared memory.
 *
 * A latch is set by a signal, which arrives through a file descriptor: several
 * system calls on either side.  Linux can wait for a word of memory with one
 * (futex).  On other systems these functions use the latch.
 *
 * A signal ends the sleep.  A signal that arrives after the caller has checked
 * for interrupts and before it sleeps does not; therefore a sleep is never
 * longer than FUTEX_SLEEP_MS.
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
 * On 32-bit systems SYS_futex reads 32-bit seconds.  Where time_t has 64 bits
 * there, it would misread the timeout as none, and SYS_futex_time64 is the
 * right call.  Newer 32-bit systems have only that.
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
 * Sleep until the word is no longer value, at most FUTEX_SLEEP_MS; may return
 * early.  If the kernel refuses the call, sleep a millisecond, so that the
 * caller's loop does not spin.
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

/*
 * Wake the process that sleeps on the word; the caller has changed the word.
 * proc is its index, for systems that use the latch.
 */
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
