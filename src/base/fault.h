/*
 * fault.h
 *		Steps at which a build for tests fails when it is told to.
 *
 * "make WITH_FAULTS=1" makes such a build; of any other nothing is left of this.
 * A step is named after what has just been done there.
 */
#ifndef SECKILL_FAULT_H
#define SECKILL_FAULT_H

#ifdef SECKILL_FAULTS

#include "base/shmem.h"

extern const SeckillShmem seckill_fault_shmem;
extern void seckill_fault_step(const char *step, bool may_raise);
extern bool seckill_fault_skips(const char *step);

/* A step at which an error can be raised. */
#define SECKILL_FAULT(step)		seckill_fault_step(step, true)

/* One at which none must be, but at which the process can die. */
#define SECKILL_CRASH(step)		seckill_fault_step(step, false)

/* Is what has this name to be left out?  It stands for a bug. */
#define SECKILL_SKIP(step)		seckill_fault_skips(step)

#else

#define SECKILL_FAULT(step)		((void) 0)
#define SECKILL_CRASH(step)		((void) 0)
#define SECKILL_SKIP(step)		false

#endif

#endif							/* SECKILL_FAULT_H */
