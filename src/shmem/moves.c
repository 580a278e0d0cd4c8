/*
 * moves.c
 *		Waiting until an item has been moved between nodes.
 *
 * The area is one condition variable, which each commit broadcasts that
 * changes where an item is sold.  A waiter reads the row of its item after
 * each wake-up.  The wait is bounded and no deadlock detector sees it: a
 * transaction that stops a sale waits for no transaction in such a wait for
 * longer.  Without preload there is no area, and no wait.
 */
#include "postgres.h"

#include "storage/condition_variable.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/shmem.h"
#include "shmem/moves.h"

static ConditionVariable *moved = NULL;
static uint32 move_event = 0;

static void
request(void)
{
	seckill_shmem_struct("seckill moves", sizeof(ConditionVariable),
						 (void **) &moved);
}

static void
init(void)
{
	ConditionVariableInit(moved);
}

const SeckillShmem seckill_moves_shmem = {.request = request, .init = init};

/*
 * An item is sold in another place from now on: wake the waiters.  For the
 * commit callback; does not raise.
 */
void
seckill_moves_announce(void)
{
	if (moved != NULL)
		ConditionVariableBroadcast(moved);
}

/* Begin to wait: what is announced from now on ends seckill_moves_wait(). */
void
seckill_moves_begin_wait(void)
{
	if (moved != NULL)
		ConditionVariablePrepareToSleep(moved);
}

/*
 * Sleep until something is announced, or until a time of seckill_clock();
 * false if that has passed.
 */
bool
seckill_moves_wait(ClockTime until)
{
	ClockTime	now = seckill_clock();

	if (moved == NULL || now >= until)
		return false;
	(void) ConditionVariableTimedSleep(moved, (long) ((until - now + 999) / 1000),
									   SeckillWaitEvent(&move_event, "SeckillMove"));
	return true;
}

void
seckill_moves_end_wait(void)
{
	ConditionVariableCancelSleep();
}
