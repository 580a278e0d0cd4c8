/*
 * process.c
 *		What the extension's own processes have in common: their start,
 *		interrupts, and transactions of the worker and of the keeper.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/fault.h"
#include "table/plan.h"
#include "worker/process.h"

/* Messages of a kind are counted for so long, see seckill_process_may_log(). */
#define LOG_PERIOD_MS	60000

/*
 * Called first, in each of our processes.  Their transactions wait for so long
 * as they are told to; a setting for clients would end the process.
 */
void
seckill_process_init(void)
{
	SeckillNoTransactionTimeout();
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
}

/* Between transactions: there is nothing that could be cancelled. */
void
seckill_process_interrupts(void)
{
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/*
 * Begin a transaction in which everything is seen as it is, whatever the
 * defaults of the database say.
 */
void
seckill_process_begin(int lock_timeout_ms)
{
	char		value[16];

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = false;
	snprintf(value, sizeof(value), "%d", lock_timeout_ms);
	(void) set_config_option("lock_timeout", value, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * Commit.  Triggers deferred until now run as the owner of the orders, not as
 * who we are, a superuser.  An abort restores the user.
 */
void
seckill_process_commit(void)
{
	TableCaller self;

	PopActiveSnapshot();
	GetUserIdAndSecContext(&self.user, &self.context);
	SetUserIdAndSecContext(seckill_catalog()->orders_owner,
						   SECURITY_LOCAL_USERID_CHANGE);
	CommitTransactionCommand();
	SetUserIdAndSecContext(self.user, self.context);
}

/*
 * Do something in a transaction, inside seckill_table_begin() and _end().  The
 * memory context stays what it was.
 */
static void
run(ProcessTask task, void *arg, int lock_timeout_ms)
{
	MemoryContext context = CurrentMemoryContext;
	TableCaller caller;

	seckill_process_begin(lock_timeout_ms);
	seckill_table_begin(&caller);
	task(arg);
	seckill_table_end(&caller);
	SECKILL_FAULT("task done");
	seckill_process_commit();
	MemoryContextSwitchTo(context);
}

/* Roll back after an error, which is returned in the given context. */
ErrorData *
seckill_process_recover(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	HOLD_INTERRUPTS();
	error = CopyErrorData();
	AbortOutOfAnyTransaction(); /* a probe's subtransaction, too */
	FlushErrorState();
	RESUME_INTERRUPTS();
	MemoryContextSwitchTo(context);
	return error;
}

/* The same; returns the error that it raised, or NULL. */
ErrorData *
seckill_process_try(ProcessTask task, void *arg, int lock_timeout_ms)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		run(task, arg, lock_timeout_ms);
	}
	PG_CATCH();
	{
		error = seckill_process_recover(context);
	}
	PG_END_TRY();
	return error;
}

/* Is it an error that comes of what others do just now? */
bool
seckill_process_is_passing(const ErrorData *error)
{
	switch (error->sqlerrcode)
	{
		case ERRCODE_LOCK_NOT_AVAILABLE:
		case ERRCODE_T_R_DEADLOCK_DETECTED:
		case ERRCODE_T_R_SERIALIZATION_FAILURE:
		case ERRCODE_QUERY_CANCELED:
			return true;
		default:
			return false;
	}
}

/*
 * The same for what others' locks may keep from being done just now: false if
 * so.  Any other error is raised again.
 */
bool
seckill_process_run_soon(ProcessTask task, void *arg, int lock_timeout_ms)
{
	ErrorData  *error = seckill_process_try(task, arg, lock_timeout_ms);

	if (error != NULL && !seckill_process_is_passing(error))
		ReThrowError(error);
	return error == NULL;
}

static uint32
wait_event(void)
{
	static uint32 event = 0;

	return SeckillWaitEvent(&event, "SeckillMaintenance");
}

/* Sleep for so many microseconds, rounded up to milliseconds, or until woken. */
void
seckill_process_sleep(int64 delay)
{
	int64		ms = delay / 1000 + (delay % 1000 > 0);

	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 (long) Min(ms, INT_MAX), wait_event());
	ResetLatch(MyLatch);
}

/*
 * May a message be logged that could come again and again?  Up to max of its
 * kind a minute.
 */
bool
seckill_process_may_log(LogKind *kind, int max)
{
	ClockTime	now = seckill_clock();

	if (kind->lines == 0 || now >= kind->since + USECS(LOG_PERIOD_MS))
	{
		kind->since = now;
		kind->lines = 0;
	}
	if (kind->lines >= max)
		return false;
	kind->lines++;
	return true;
}
