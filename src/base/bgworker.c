/*
 * bgworker.c
 *		Registration of the extension's background workers.
 *
 * Workers are registered from two places: worker/launcher.c registers the
 * launcher and the maintenance workers, and shmem/ring.c and shmem/share_state.c ask
 * for a queue worker and a share worker when a purchase needs one.  This file refers to entry points by name
 * only, so it can be in a layer below both.  It keeps no state.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"

#include "base/bgworker.h"

/*
 * Fill *worker for a background worker that runs the named function of this
 * library and is shown as type.  It connects to a database, starts when
 * recovery has ended, and is not restarted.
 */
void
seckill_process_describe(BackgroundWorker *worker, const char *type,
						 const char *function)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, "seckill",
			sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function,
			sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_name, type, sizeof(worker->bgw_name));
	strlcpy(worker->bgw_type, type, sizeof(worker->bgw_type));
}


/*
 * Ask the postmaster for a worker of the current database.  Returns false if
 * all max_worker_processes are in use.  A worker that is terminated is
 * restarted at once.  Does not raise, so that it may be called under an LWLock.
 */
bool
seckill_bgworker_register(const char *type, const char *function)
{
	BackgroundWorker worker;

	seckill_process_describe(&worker, type, function);
	worker.bgw_restart_time = 0;	/* at once, when it is terminated */
	worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}
