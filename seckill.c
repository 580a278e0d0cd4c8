/*
 * seckill.c
 *		Flash sales inside PostgreSQL: entry point and hooks.
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
 * item lock	heavyweight lock that serves the buyers of one item in turn
 * stock cache	shared memory: an entry per item, with its rules and its lease
 * lease		units moved, in a transaction, from the row to the stock cache
 * hold			units that a transaction has taken from it and not committed
 * settle		return the unsold units of a lease to the row
 * queue		ring of purchases that the queue worker decides in batches
 * ticket		a purchase's position in the queue
 * release		units that are put on sale at a time, a row of seckill.releases
 * maintenance worker	releases units, expires unpaid orders, prepares openings
 * leg			part of a trip on which a seat can be sold
 * seat map		shared memory: which legs of an item's seats are free, a guess
 * booking		purchase of seats, each for some legs
 * share		units of an item that one of several nodes sells
 * share worker	gets units from other nodes where a share is short
 *
 * The layers; each calls its own and those below it only (scripts/
 * check-layers.pl), and its README says what it may touch:
 *
 * seckill.c, src/callbacks.c	hooks, and what happens when a transaction ends
 * src/api		functions that SQL can call, triggers among them
 * src/scenario	coupons, red envelopes, lotteries: values of units
 * src/worker	background processes; does not call and is not called by the
 *				two above
 * src/sale		decisions: rules, limits, modes, leases, the life of an order
 * src/table	every SQL statement and direct scan
 * src/xact		what the transaction holds and has changed; heavyweight locks
 * src/shmem	shared memory: cache, ring, schedule, rates, statistics
 * src/base		settings, OIDs, argument checks, fault points, portability
 *
 * docs/design.md has the laws and the protocol.
 *
 * Without shared_preload_libraries there is no shared memory, and only the
 * modes that work on the row can be used.
 */
#include "postgres.h"

#include <limits.h>

#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "base/catalog.h"
#include "base/fault.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "callbacks.h"
#include "shmem/cache.h"
#include "shmem/cache_scan.h"
#include "shmem/channel_stat.h"
#include "shmem/claims.h"
#include "shmem/rate.h"
#include "shmem/moves.h"
#include "shmem/ring.h"
#include "shmem/schedule.h"
#include "shmem/seat_map.h"
#include "shmem/share_state.h"
#include "shmem/stat.h"
#include "table/item_search.h"
#include "worker/launcher.h"
#include "xact/changes.h"

PG_MODULE_MAGIC;

static object_access_hook_type prev_object_access = NULL;

/* The table of items, if dropping an object drops it or the nodes of its items. */
static Oid
items_of(Oid classid, Oid objectid)
{
	Oid			schema = get_namespace_oid("seckill", true);
	Oid			items = OidIsValid(schema) ? get_relname_relid("items", schema) : InvalidOid;

	if (classid == RelationRelationId)
		return objectid == items ? items : InvalidOid;
	return objectid == get_extension_oid("seckill_cluster", true) ? items : InvalidOid;
}

/*
 * Raise an error if an object is dropped that items need that are split over
 * nodes: their units on other nodes would come back no more.
 */
static void
check_drop(Oid classid, Oid objectid)
{
	Oid			items = items_of(classid, objectid);

	if (OidIsValid(items) && seckill_items_any_split(items))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot drop %s while items are split over nodes",
						classid == RelationRelationId ? "seckill.items" : "extension seckill_cluster"),
				 errdetail("Their units on other nodes could not be brought home any more."),
				 errhint("CALL seckill_unsplit() on the home of each item: SELECT item_id, split_over FROM seckill.items WHERE split_over IS NOT NULL.")));
}

/*
 * Refuse what would strand the units of split items.  Note a dropped table or
 * database: its cache entries are dropped when the transaction commits.
 */
static void
on_object_access(ObjectAccessType access, Oid classid, Oid objectid,
				 int subid, void *arg)
{
	if (prev_object_access)
		prev_object_access(access, classid, objectid, subid, arg);
	if (access != OAT_DROP || subid != 0)
		return;
	if (classid == ExtensionRelationId || classid == RelationRelationId)
		check_drop(classid, objectid);
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
	seckill_shmem_register(&seckill_claims_shmem);
	seckill_shmem_register(&seckill_moves_shmem);
	seckill_shmem_register(&seckill_schedule_shmem);
	seckill_shmem_register(&seckill_rate_shmem);
	seckill_shmem_register(&seckill_stat_shmem);
	seckill_shmem_register(&seckill_seat_map_shmem);
	seckill_shmem_register(&seckill_share_shmem);
	seckill_shmem_register(&seckill_channel_shmem);
#ifdef SECKILL_FAULTS
	seckill_shmem_register(&seckill_fault_shmem);
#endif
	prev_object_access = object_access_hook;
	object_access_hook = on_object_access;
	seckill_launcher_init();
}
