/*
 * bgworker.c
 *		TODO
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"

#include "base/bgworker.h"

/* One of our processes, for the postmaster: never started again by itself. */
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
 * Starting and ending
 */

/*
 * Ask the postmaster for a worker for this database.  False if all its places
 * for workers are taken.
 */
bool
seckill_queue_worker_register(void)
{
	BackgroundWorker worker;

	seckill_process_describe(&worker, "seckill queue worker", "seckill_queue_worker_main");
	worker.bgw_restart_time = 0;	/* at once, when it is terminated */
	worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}
