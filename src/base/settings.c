/*
 * settings.c
 *		TODO
 */
#include "postgres.h"

#include <limits.h>

#include "catalog/objectaccess.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "base/settings.h"
#include "seckill.h"

int			seckill_default_mode = SECKILL_MODE_AUTO;
bool		seckill_allow_unsafe = false;
int			seckill_max_retries = 1000;
int			seckill_lease_units = 1000;
int			seckill_max_items = 1000;
char	   *seckill_token_key = NULL;
char	   *seckill_token_old_key = NULL;
int			seckill_hot_rate = 100;
int			seckill_queue_size = 4096;
int			seckill_queue_batch = 1000;
int			seckill_queue_idle_time = 2000;
int			seckill_open_ahead = 5000;
int			seckill_naptime = 60;
bool		seckill_queue_notify = false;
double		seckill_user_rate = 0;
int			seckill_user_burst = 10;
int			seckill_max_users = 65536;
int			seckill_max_waiters = 0;

static const struct config_enum_entry mode_options[] = {
	{"none", SECKILL_MODE_NONE, false},
	{"optimistic", SECKILL_MODE_OPTIMISTIC, false},
	{"retry", SECKILL_MODE_RETRY, false},
	{"pessimistic", SECKILL_MODE_PESSIMISTIC, false},
	{"advisory", SECKILL_MODE_ADVISORY, false},
	{"cache", SECKILL_MODE_CACHE, false},
	{"queue", SECKILL_MODE_QUEUE, false},
	{"auto", SECKILL_MODE_AUTO, false},
	{NULL, 0, false}
};

/* What takes shared memory. */
static void
define_sizes(void)
{
	DefineCustomIntVariable("seckill.max_items",
							"Items that the stock cache has place for.",
							"Further items are sold from their rows.",
							&seckill_max_items, 1000, 1, 1000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.queue_size",
							"Purchases that the queue of a database has place for, decided ones that are remembered included.",
							"A full queue answers \"busy\".",
							&seckill_queue_size, 4096, 1, 10000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.max_users",
							"Users whose calls are counted at a time.",
							"With more, the one who is soonest back at a full burst is forgotten.",
							&seckill_max_users, 65536, 1, 100000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

/*
 * Keys are told to nobody, not even to who can read all settings.  pg_settings
 * has the value that a RESET would restore, too, as it is: the keys are not
 * listed there.
 */
#define SECRET	(GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE)

static const char *
show_token_key(void)
{
	return seckill_token_key[0] != '\0' ? "********" : "";
}

static const char *
show_token_old_key(void)
{
	return seckill_token_old_key[0] != '\0' ? "********" : "";
}

void
seckill_settings_define(void)
{
	DefineCustomEnumVariable("seckill.default_mode",
							 "Mode that \"auto\" stands for in a call.",
							 "Left at \"auto\", the extension chooses.",
							 &seckill_default_mode, SECKILL_MODE_AUTO,
							 mode_options, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("seckill.allow_unsafe",
							 "Allows mode \"none\", which oversells.",
							 NULL, &seckill_allow_unsafe, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.max_retries",
							"Lost races after which mode \"retry\" answers \"conflict\".",
							NULL, &seckill_max_retries, 1000, 0, INT_MAX,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.lease_units",
							"Units that one refill moves from an item's row to the stock cache.",
							NULL, &seckill_lease_units, 1000, 1, INT_MAX,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.hot_rate",
							"Calls a second from which mode \"auto\" sells an item from the stock cache.",
							"0: always, where there is a cache.",
							&seckill_hot_rate, 100, 0, INT_MAX,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("seckill.token_key",
							   "Secret key of admission tokens.",
							   NULL, &seckill_token_key, "",
							   PGC_SIGHUP, SECRET,
							   NULL, NULL, show_token_key);
	DefineCustomStringVariable("seckill.token_old_key",
							   "Key before seckill.token_key, whose tokens are still accepted.",
							   NULL, &seckill_token_old_key, "",
							   PGC_SIGHUP, SECRET,
							   NULL, NULL, show_token_old_key);
	DefineCustomIntVariable("seckill.queue_batch",
							"Purchases that the queue's worker decides in one transaction at most.",
							NULL, &seckill_queue_batch, 1000, 1, 100000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.queue_idle_time",
							"Time without a purchase after which the queue's worker ends.",
							NULL, &seckill_queue_idle_time, 2000, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable("seckill.queue_notify",
							 "Sends NOTIFY seckill_queue for each batch of the queue.",
							 "The payload is the last ticket of the batch.",
							 &seckill_queue_notify, false,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.open_ahead",
							"Time before the opening of a sale at which its item gets a first lease.",
							"0: none.",
							&seckill_open_ahead, 5000, 0, 3600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.naptime",
							"Time between looks at each database for what was not announced.",
							NULL, &seckill_naptime, 60, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomRealVariable("seckill.user_rate",
							 "Calls a second that one user can make, for all items together.",
							 "0: any number.  An item can have a rate of its own.",
							 &seckill_user_rate, 0, 0, 1000000,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.user_burst",
							"Calls that one user can make at once.",
							NULL, &seckill_user_burst, 10, 1, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.max_waiters",
							"Calls that can wait for one item in the row modes; further ones are \"busy\".",
							"0: any number.  An item can have a number of its own.",
							&seckill_max_waiters, 0, 0, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	if (process_shared_preload_libraries_in_progress)
		define_sizes();
	MarkGUCPrefixReserved("seckill");
}
