/*
 * seckill.c
 *		Flash sales inside PostgreSQL: entry point, settings, hooks.
 *
 * A flash sale sends a crowd at one row.  seckill_buy() lets each call choose
 * how it meets the others there.  The words, the same in SQL, C, tests and
 * documents:
 *
 * item			one thing on sale, a row of seckill.items
 * unit			one piece of an item's stock
 * stock		units on the item's row: neither sold nor leased
 * order		one successful purchase, a row of seckill.orders
 * mode			the concurrency control that one call uses
 * outcome		what a call answers; a value, never an error
 * lease		units moved, in a transaction, from the row to the stock cache
 * stock cache	shared memory: per item its rules, the units left of its lease,
 *				and who holds units
 * hold			units a transaction has taken from the cache and not committed
 * settle		give the unsold units of a lease back to the row
 * queue		shared-memory ring of purchases that a worker decides in batches
 * ticket		a purchase's position in the queue
 * keeper		the process that expires unpaid orders and prepares openings
 * bucket		the calls that a user can still make now
 *
 * The rooms: src/buy.c is the call, src/admit.c says who may buy,
 * src/token.c who may try, src/rate.c how often, src/modes.c has the modes,
 * src/lease.c what moves units between row and cache, src/ledger.c every SQL
 * statement, src/batch.c purchases decided on locked rows,
 * src/order.c what becomes of an order later,
 * src/queue.c the ring and src/worker.c the process that empties it,
 * src/launcher.c and src/keeper.c the processes for what is due at a time,
 * src/schedule.c when that is, src/expiry.c unpaid orders, src/process.c what
 * processes have in common,
 * src/stock.c the stock cache, src/xact.c what a transaction holds and its
 * callbacks, src/guard.c the triggers, src/item.c the calls of an operator on
 * one item, src/stats.c the statistics and
 * the views, src/catalog.c the OIDs, src/fault.c what fails on purpose.  docs/design.md has the laws and the protocol.
 *
 * Without shared_preload_libraries there is no shared memory: the modes that
 * live on the row work all the same.
 */
#include "postgres.h"

#include <limits.h>

#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/guc.h"

#include "src/seckill.h"

PG_MODULE_MAGIC;

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

static object_access_hook_type prev_object_access = NULL;


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

static void
define_settings(void)
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

/* Tables and databases that go take their entries with them, at commit. */
static void
on_object_access(ObjectAccessType access, Oid classid, Oid objectid,
				 int subid, void *arg)
{
	if (prev_object_access)
		prev_object_access(access, classid, objectid, subid, arg);
	if (access != OAT_DROP || subid != 0)
		return;
	if (classid == DatabaseRelationId)
		seckill_xact_note_drop_database(objectid);
	else if (classid == RelationRelationId &&
			 seckill_stock_has_table(objectid))
		seckill_xact_note_emptied(objectid);
}

void
_PG_init(void)
{
	define_settings();
	seckill_catalog_init();
	seckill_xact_init();
	if (!process_shared_preload_libraries_in_progress)
		return;

	seckill_shmem_register(&seckill_stock_shmem);
	seckill_shmem_register(&seckill_queue_shmem);
	seckill_shmem_register(&seckill_schedule_shmem);
	seckill_shmem_register(&seckill_rate_shmem);
	seckill_shmem_register(&seckill_stat_shmem);
#ifdef SECKILL_FAULTS
	seckill_shmem_register(&seckill_fault_shmem);
#endif
	prev_object_access = object_access_hook;
	object_access_hook = on_object_access;
	seckill_launcher_init();
}
