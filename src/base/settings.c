/*
 * settings.c
 *		Configuration parameters (GUCs).
 *
 * The parameters that size shared memory are defined only while the library is
 * preloaded.
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
int			seckill_max_numbered_items = 1000;
bool		seckill_direct_writes = true;
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
int			seckill_seat_memory = 8192;
int			seckill_move_wait = 1000;
int			seckill_move_timeout = 60;
bool		seckill_lossless = false;

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

/* Define the parameters that size shared memory. */
static void
define_sizes(void)
{
	DefineCustomIntVariable("seckill.max_items",
							"Number of items that the stock cache can have entries for.",
							"Further items are sold from their rows.",
							&seckill_max_items, 1000, 1, 1000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.max_numbered_items",
							"Number of items with numbered units that the stock cache can have units of at a time.",
							"Further ones are sold from their rows.",
							&seckill_max_numbered_items, 1000, 1, 1000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.queue_size",
							"Number of purchases that the queue of a database can have, including the decided ones that it remembers.",
							"When the queue is full, calls get the outcome \"busy\".",
							&seckill_queue_size, 4096, 1, 10000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.max_users",
							"Number of users whose calls can be counted at a time.",
							"Beyond it, a user whose bucket is soon full again is no longer counted.",
							&seckill_max_users, 65536, 1, 100000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.seat_memory",
							"Memory for the seat maps of items with seats.",
							"Items whose map has no room are sold from their rows.  0: no maps.",
							&seckill_seat_memory, 8192, 0, 4 * 1024 * 1024,
							PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);
}

/*
 * Nobody can read the keys, not even a member of pg_read_all_settings: SHOW
 * prints asterisks.  pg_settings would show the reset value in clear, so the
 * keys are not listed there.
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

/* Define all parameters; for _PG_init(). */
void
seckill_settings_define(void)
{
	DefineCustomEnumVariable("seckill.default_mode",
							 "Mode that \"auto\" stands for in a call.",
							 "If it is \"auto\" itself, the extension chooses.",
							 &seckill_default_mode, SECKILL_MODE_AUTO,
							 mode_options, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("seckill.allow_unsafe",
							 "Allows mode \"none\", which can oversell.",
							 NULL, &seckill_allow_unsafe, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("seckill.direct_writes",
							 "Writes orders, items and seats without SQL where the tables have nothing but what the extension made.",
							 "Off is slower and does the same.",
							 &seckill_direct_writes, true,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.max_retries",
							"Lost races after which mode \"retry\" answers \"conflict\".",
							NULL, &seckill_max_retries, 1000, 0, INT_MAX,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.lease_units",
							"Number of units that one refill moves from an item's row to the stock cache.",
							NULL, &seckill_lease_units, 1000, 1, INT_MAX,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.hot_rate",
							"Calls per second from which mode \"auto\" sells an item from the stock cache.",
							"0: always, if there is a cache.",
							&seckill_hot_rate, 100, 0, INT_MAX,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("seckill.token_key",
							   "Secret key of admission tokens.",
							   NULL, &seckill_token_key, "",
							   PGC_SIGHUP, SECRET,
							   NULL, NULL, show_token_key);
	DefineCustomStringVariable("seckill.token_old_key",
							   "Previous value of seckill.token_key; its tokens are still accepted.",
							   NULL, &seckill_token_old_key, "",
							   PGC_SIGHUP, SECRET,
							   NULL, NULL, show_token_old_key);
	DefineCustomIntVariable("seckill.queue_batch",
							"Maximum number of purchases that the queue worker decides in one transaction.",
							NULL, &seckill_queue_batch, 1000, 1, 100000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.queue_idle_time",
							"Time without a purchase after which the queue worker ends.",
							NULL, &seckill_queue_idle_time, 2000, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable("seckill.queue_notify",
							 "Sends NOTIFY seckill_queue for each batch of the queue.",
							 "The payload is the last ticket in the batch.",
							 &seckill_queue_notify, false,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.open_ahead",
							"Time before the opening of a sale at which its item gets a first lease.",
							"0: no lease before the opening.",
							&seckill_open_ahead, 5000, 0, 3600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.naptime",
							"Interval at which each database is searched for maintenance work that was not announced.",
							NULL, &seckill_naptime, 60, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomRealVariable("seckill.user_rate",
							 "Calls per second that one user can make, for all items together.",
							 "0: no limit.  An item can have a rate of its own.",
							 &seckill_user_rate, 0, 0, 1000000,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.user_burst",
							"Number of calls that one user can make at once.",
							NULL, &seckill_user_burst, 10, 1, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.max_waiters",
							"Maximum number of calls that wait for one item in the row modes.",
							"Further calls get the outcome \"busy\".  0: no limit.  An item can have a limit of its own.",
							&seckill_max_waiters, 0, 0, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.move_wait",
							"Longest time that a purchase waits while its item is moved between nodes, or for units of other nodes.",
							"After it the answer is \"busy\".",
							&seckill_move_wait, 1000, 0, 60000,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("seckill.move_timeout",
							"Time after which an item that did not arrive on another node is sold here again.",
							NULL, &seckill_move_timeout, 60, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomBoolVariable("seckill.lossless",
							 "Has every standby that is promoted all commits, as it was synchronous?",
							 "Then a node opens by itself after its promotion. Off for a restore from a backup.",
							 &seckill_lossless, false,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	if (process_shared_preload_libraries_in_progress)
		define_sizes();
	MarkGUCPrefixReserved("seckill");
}
