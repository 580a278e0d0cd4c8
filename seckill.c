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

#include "base/catalog.h"
#include "base/fault.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "callbacks.h"
#include "shmem/cache.h"
#include "shmem/cache_scan.h"
#include "shmem/rate.h"
#include "shmem/ring.h"
#include "shmem/schedule.h"
#include "shmem/stat.h"
#include "worker/launcher.h"
#include "xact/changes.h"

PG_MODULE_MAGIC;

static object_access_hook_type prev_object_access = NULL;

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
		seckill_change_note_drop_database(objectid);
	else if (classid == RelationRelationId &&
			 seckill_cache_has_table(objectid))
		seckill_change_note_emptied(objectid);
}

void
_PG_init(void)
{
	seckill_settings_define();
	seckill_catalog_init();
	seckill_callbacks_init();
	if (!process_shared_preload_libraries_in_progress)
		return;

	seckill_shmem_register(&seckill_cache_shmem);
	seckill_shmem_register(&seckill_ring_shmem);
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
