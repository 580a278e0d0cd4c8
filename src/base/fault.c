/*
 * fault.c
 *		Fault injection, in builds made with "make WITH_FAULTS=1" only.
 *
 * One fault at a time is armed, in shared memory, for one process, for one
 * type of background worker, or for sessions of one application_name.  It
 * strikes when that process passes the named step, or any step, for the n-th
 * time.  A test that raises n from 1 until the
 * fault no longer strikes has tried every pass of every step of a call.
 *
 * All fields are written and compared under the mutex.  action is read once
 * without it, to leave quickly while nothing is armed.
 *
 * The functions are not part of the extension script; a test creates them, see
 * torture/TortureFaults.pm.
 */
#include "postgres.h"

#include <signal.h>

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/fault.h"
#include "base/shmem.h"

PG_FUNCTION_INFO_V1(seckill_fault_arm);
PG_FUNCTION_INFO_V1(seckill_fault_pass);
PG_FUNCTION_INFO_V1(seckill_fault_struck);
PG_FUNCTION_INFO_V1(seckill_fault_disarm);

#define NAME_SIZE	64

/* How long FAULT_LATE delays a process. */
#define LATE_US		5000

/* How often FAULT_WAIT looks whether it is over. */
#define WAIT_US		1000

#define ERRCODE_FAULT	MAKE_SQLSTATE('S','K','F','0','0')

typedef enum FaultAction
{
	FAULT_NONE,
	FAULT_ERROR,				/* raise an error */
	FAULT_FATAL,				/* end the session */
	FAULT_KILL,					/* die at once, and with it the server */
	FAULT_LATE,					/* sleep, so that others overtake it */
	FAULT_WAIT,					/* wait until another fault is armed */
	FAULT_SKIP					/* leave the step out */
} FaultAction;

static const char *const actions[] = {
	"none", "error", "fatal", "kill", "late", "wait", "skip"
};

typedef struct Fault
{
	slock_t		mutex;
	FaultAction action;
	char		victim[NAME_SIZE];	/* a pid, a type of background worker, or
									 * an application_name */
	char		step[NAME_SIZE];	/* "*": any */
	int			pass;			/* 0: each; -n: one in n, at random */
	int			passes;			/* since the fault was armed */
	char		struck[NAME_SIZE];	/* the last step where it struck, or "" */
} Fault;

static Fault *fault = NULL;

static void
request(void)
{
	seckill_shmem_struct("seckill fault", sizeof(Fault), (void **) &fault);
}

static void
init(void)
{
	memset(fault, 0, sizeof(Fault));
	SpinLockInit(&fault->mutex);
}

const SeckillShmem seckill_fault_shmem = {
	.tranche = NULL,
	.request = request,
	.init = init
};

/* Is the fault armed for this process?  Under the mutex. */
static bool
is_victim(void)
{
	char		pid[16];

	if (MyBgworkerEntry != NULL)
		return strcmp(MyBgworkerEntry->bgw_type, fault->victim) == 0;
	snprintf(pid, sizeof(pid), "%d", MyProcPid);
	return strcmp(pid, fault->victim) == 0 ||
		(application_name != NULL && application_name[0] != '\0' &&
		 strcmp(application_name, fault->victim) == 0);
}

/* Does this pass of the step strike?  Under the mutex. */
static bool
is_due(void)
{
	if (fault->pass < 0)
		return pg_prng_double(&pg_global_prng_state) * -fault->pass < 1;
	return fault->pass == 0 || fault->passes == fault->pass;
}

/*
 * Count a pass of the step, and return the action to do now, if it is one from
 * first to last; else FAULT_NONE.  Under the mutex.
 */
static FaultAction
strike(const char *step, FaultAction first, FaultAction last)
{
	if (fault->action < first || fault->action > last || !is_victim() ||
		(strcmp(fault->step, "*") != 0 && strcmp(fault->step, step) != 0))
		return FAULT_NONE;
	fault->passes++;
	if (!is_due())
		return FAULT_NONE;
	strlcpy(fault->struck, step, NAME_SIZE);
	return fault->action;
}

/* Wait until the fault is over; may be cancelled where errors are allowed. */
static void
wait_for_others(bool may_raise)
{
	while (((volatile Fault *) fault)->action == FAULT_WAIT)
	{
		if (may_raise)
			CHECK_FOR_INTERRUPTS();
		pg_usleep(WAIT_US);
	}
}

/*
 * The process has passed a step: do what is armed for it.  FAULT_ERROR and
 * FAULT_FATAL are ignored unless may_raise.
 */
void
seckill_fault_step(const char *step, bool may_raise)
{
	FaultAction action;

	if (fault == NULL || fault->action == FAULT_NONE)
		return;
	SpinLockAcquire(&fault->mutex);
	action = strike(step, may_raise ? FAULT_ERROR : FAULT_KILL, FAULT_WAIT);
	SpinLockRelease(&fault->mutex);
	switch (action)
	{
		case FAULT_NONE:
		case FAULT_SKIP:
			break;
		case FAULT_ERROR:
		case FAULT_FATAL:
			ereport(action == FAULT_ERROR ? ERROR : FATAL,
					(errcode(ERRCODE_FAULT), errmsg("fault: %s", step)));
			break;
		case FAULT_KILL:
			(void) kill(MyProcPid, SIGKILL);
			break;
		case FAULT_LATE:
			pg_usleep(LATE_US);
			break;
		case FAULT_WAIT:
			wait_for_others(may_raise);
			break;
	}
}

/* Is the step to be left out? */
bool
seckill_fault_skips(const char *step)
{
	FaultAction action;

	if (fault == NULL || fault->action != FAULT_SKIP)
		return false;
	SpinLockAcquire(&fault->mutex);
	action = strike(step, FAULT_SKIP, FAULT_SKIP);
	SpinLockRelease(&fault->mutex);
	return action == FAULT_SKIP;
}

/* Return the action of this name; raise if there is none. */
static FaultAction
find_action(const char *name)
{
	for (int i = 0; i < (int) lengthof(actions); i++)
		if (strcmp(actions[i], name) == 0)
			return (FaultAction) i;
	elog(ERROR, "there is no action \"%s\"", name);
}

/*
 * seckill_fault_arm(victim text, step text, pass integer, action text)
 *		returns void
 */
Datum
seckill_fault_arm(PG_FUNCTION_ARGS)
{
	char	   *victim = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *step = text_to_cstring(PG_GETARG_TEXT_PP(1));
	FaultAction action = find_action(text_to_cstring(PG_GETARG_TEXT_PP(3)));

	SpinLockAcquire(&fault->mutex);
	strlcpy(fault->victim, victim, NAME_SIZE);
	strlcpy(fault->step, step, NAME_SIZE);
	fault->pass = PG_GETARG_INT32(2);
	fault->action = action;
	fault->passes = 0;
	fault->struck[0] = '\0';
	SpinLockRelease(&fault->mutex);
	PG_RETURN_VOID();
}

/*
 * seckill_fault_pass(step text) returns void
 *
 * A step between two statements of a function that is not written in C.
 */
Datum
seckill_fault_pass(PG_FUNCTION_ARGS)
{
	seckill_fault_step(text_to_cstring(PG_GETARG_TEXT_PP(0)), true);
	PG_RETURN_VOID();
}

/*
 * Return the last step where the fault has struck since it was armed, or "".
 * Disarms it, if that is wanted, so that it does not strike after the look.
 */
static const char *
get_struck(bool disarm)
{
	static char struck[NAME_SIZE];

	SpinLockAcquire(&fault->mutex);
	memcpy(struck, fault->struck, NAME_SIZE);
	if (disarm)
	{
		fault->action = FAULT_NONE;
		fault->struck[0] = '\0';
	}
	SpinLockRelease(&fault->mutex);
	return struck;
}

/* seckill_fault_struck() returns text: NULL if it has not struck */
Datum
seckill_fault_struck(PG_FUNCTION_ARGS)
{
	const char *struck = get_struck(false);

	if (struck[0] == '\0')
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(struck));
}

/* seckill_fault_disarm() returns text: NULL if it has not struck */
Datum
seckill_fault_disarm(PG_FUNCTION_ARGS)
{
	const char *struck = get_struck(true);

	if (struck[0] == '\0')
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(struck));
}
