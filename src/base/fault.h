/*
 * fault.h
 *		Fault points: steps at which a test build fails on request.
 *
 * "make WITH_FAULTS=1" makes such a build; in all others the macros are empty.
 * A step is named after what has just been done there.
 */
#ifndef SECKILL_FAULT_H
#define SECKILL_FAULT_H

#ifdef SECKILL_FAULTS

#include "base/shmem.h"

extern const SeckillShmem seckill_fault_shmem;
extern void seckill_fault_step(const char *step, bool may_raise);
extern bool seckill_fault_skips(const char *step);

/* A step at which an error may be raised. */
#define SECKILL_FAULT(step)		seckill_fault_step(step, true)

/* A step at which no error may be raised, but the process can be killed. */
#define SECKILL_CRASH(step)		seckill_fault_step(step, false)

/* Is the step of this name to be left out, to simulate a bug? */
#define SECKILL_SKIP(step)		seckill_fault_skips(step)

#else

#define SECKILL_FAULT(step)		((void) 0)
#define SECKILL_CRASH(step)		((void) 0)
#define SECKILL_SKIP(step)		false

#endif

#endif							/* SECKILL_FAULT_H */
