/*
 * process.c
 *		What the extension's own processes have in common: signals, interrupts
 *		and transactions of the worker and of the keeper.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "seckill.h"

void
seckill_process_signals(void)
{
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
	LedgerCaller self;

	PopActiveSnapshot();
	GetUserIdAndSecContext(&self.user, &self.context);
	SetUserIdAndSecContext(seckill_catalog()->orders_owner,
						   SECURITY_LOCAL_USERID_CHANGE);
	CommitTransactionCommand();
	SetUserIdAndSecContext(self.user, self.context);
}
