/*
 * process.c
 *		What all background processes of the extension share.
 *
 * Start and interrupts for all of them; transactions for the queue worker and
 * the maintenance worker, which run as the owner of the tables and turn errors
 * into return values; sleep of the launcher and the maintenance worker; and
 * rate limits of log messages.  The file keeps no state and takes no locks.
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

/* Period of the rate limit of log messages. */
#define LOG_PERIOD_MS	60000

/*
 * Set up signal handlers.  Each process calls this first.  transaction_timeout
 * is switched off, as it is a setting for clients and would end the process.
 */
void
seckill_process_init(void)
{
	SeckillNoTransactionTimeout();
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
}

/*
 * Handle interrupts between transactions: exit if terminated, and reload the
 * configuration.  A cancel is ignored, as there is no statement to cancel.
 */
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
 * Begin a transaction with an active snapshot and the given lock_timeout.  It
 * is READ COMMITTED and READ WRITE, whatever the defaults of the database are.
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
 * Commit the transaction.  Deferred triggers run here, and run as the owner of
 * the orders instead of the superuser that the process is.  If the commit
 * raises an error, the abort restores the user.
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
 * Run a task in a transaction, between seckill_table_begin() and
 * seckill_table_end().  The memory context stays what it was.
 */
static void
run_task(ProcessTask task, void *arg, int lock_timeout_ms)
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

/*
 * Roll back after an error, in PG_CATCH.  Returns a copy of the error in the
 * given memory context, which is made the current one.
 */
ErrorData *
seckill_process_recover(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	HOLD_INTERRUPTS();
	error = CopyErrorData();
	AbortOutOfAnyTransaction(); /* with all subtransactions */
	FlushErrorState();
	RESUME_INTERRUPTS();
	MemoryContextSwitchTo(context);
	return error;
}

/*
 * Run a task in a transaction of its own.  Returns NULL if it has committed,
 * else the error that rolled it back, in the current memory context.
 */
ErrorData *
seckill_process_try(ProcessTask task, void *arg, int lock_timeout_ms)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		run_task(task, arg, lock_timeout_ms);
	}
	PG_CATCH();
	{
		error = seckill_process_recover(context);
	}
	PG_END_TRY();
	return error;
}

/* Is it an error of concurrency, so that a retry may succeed? */
bool
seckill_process_is_transient(const ErrorData *error)
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
 * Run a task in a transaction of its own.  Returns false if a transient error
 * rolled it back, and raises any other error again.
 */
bool
seckill_process_run(ProcessTask task, void *arg, int lock_timeout_ms)
{
	ErrorData  *error = seckill_process_try(task, arg, lock_timeout_ms);

	if (error != NULL && !seckill_process_is_transient(error))
		ReThrowError(error);
	return error == NULL;
}

static uint32
wait_event(void)
{
	static uint32 event = 0;

	return SeckillWaitEvent(&event, "SeckillMaintenance");
}

/*
 * Sleep for delay microseconds, rounded up to milliseconds, or until the latch
 * is set.
 */
void
seckill_process_sleep(int64 delay)
{
	int64		ms = delay / 1000 + (delay % 1000 > 0);

	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 (long) Min(ms, INT_MAX), wait_event());
	ResetLatch(MyLatch);
}

/*
 * May another message of this kind be logged?  Returns true for the first max
 * of a period, and counts them.
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
