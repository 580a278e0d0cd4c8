/*
 * share.c
 *		Purchases of items that are split over nodes.
 *
 * Each node has a share of the units of a split item: a row, a cache entry and
 * orders, as of any item.  All calls of one user for the item belong to one
 * node, so limits and requests are exact.  A share that is short gets units
 * from the others by the share worker; the steps are in seckill_cluster.
 *
 * "sold out" is told only if no node has the units:
 *
 * - at home, while it is proved that all units are at home: then the row and
 *   the cache of home decide, as on a single node;
 * - anywhere, while a certificate of home counts: no node has a unit, and each
 *   has promised that none appears before it is over;
 * - if an exchange that began after the call has found out that there are
 *   fewer units on all nodes than the purchase wants.
 *
 * Otherwise the purchase waits for the share worker, and is "busy" when the
 * wait is over.  Whoever has locked the row does not wait, as the worker needs
 * the row.
 *
 * A promise is made under the lock of the row, and units return to a share
 * only under that lock: who returns some waits there until the promise is
 * over, and then commits.  So a promise needs no lock of its own, and cannot
 * be renewed while somebody waits for its end.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/fault.h"
#include "base/settings.h"
#include "sale/share.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/share_state.h"
#include "table/item_row.h"
#include "table/shares.h"
#include "xact/changes.h"
#include "xact/lock.h"

/* What an entry has for "certified until" once its share has been looked at. */
#define LOOKED_AT	1

/*
 * Users
 */

/*
 * Return the node that sells a split item to a user.  The first byte of the
 * SHA-256 (FIPS 180) of the user_id, as 8 bytes in network byte order, is the
 * user's slot, so that an application can compute it, too.  Each node has 256
 * slots divided by the number of nodes, in their order.
 */
int
seckill_share_node_of(const SplitNodes *split, int64 user_id)
{
	uint64		key = pg_hton64((uint64) user_id);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);

	if (hash == NULL || pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) &key, sizeof(key)) < 0 ||
		pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute the slot of a user")));
	pg_cryptohash_free(hash);
	return split->node[digest[0] * split->n / 256];
}

/* Does another node sell the item to this user? */
bool
seckill_share_is_elsewhere(const Purchase *p)
{
	return unlikely(p->rules.split.n > 0) &&
		seckill_share_node_of(&p->rules.split, p->user_id) != seckill_catalog()->node;
}

/* Raise an error if another node sells the item to this user. */
void
seckill_share_check_user(int64 item_id, const SplitNodes *split,
						 int64 user_id)
{
	if (split->n > 0 &&
		seckill_share_node_of(split, user_id) != seckill_catalog()->node)
		seckill_user_elsewhere(item_id, user_id,
							   seckill_share_node_of(split, user_id));
}


/*
 * Sold out
 */

/* Read what is known of the share; the library is preloaded. */
static void
look(int64 item_id, ShareView *view)
{
	seckill_share_check_preloaded();
	seckill_share_read(seckill_catalog()->items, item_id, view);
}

/* Is the item certified to be sold out?  Reads the entry only. */
bool
seckill_share_is_sold_out(CacheEntry *entry)
{
	ClockTime	until = seckill_cache_certified_until(entry);

	return until > LOOKED_AT && seckill_clock() < until;
}

/*
 * Is it true for everybody that the item is sold out, given that a purchase
 * that began to look at a time has found no units here?
 */
static bool
is_proved(const ShareView *view, ClockTime began)
{
	ClockTime	now = seckill_clock();

	return now < view->certified_until ||
		(view->proved_since <= began && now < view->proved_until);
}

/* Are there fewer units than p wants, as was found out since it was made? */
static bool
is_out_of_reach(const ShareView *view, const Purchase *p, ClockTime made)
{
	return view->reach_since >= made && p->quantity > view->reach;
}

/*
 * Move the purchases that were found sold out here, by a look that began at a
 * time, and perhaps are not on all nodes, to the front; return their number.
 * made is the time of the call.
 */
int
seckill_share_keep_open(Purchase **list, int n, ClockTime made,
						ClockTime began)
{
	ShareView	view;
	bool		proved = false;
	bool		looked = false;
	int			open = 0;

	for (int i = 0; i < n; i++)
	{
		Purchase   *p = list[i];

		if (p->outcome != SECKILL_SOLD_OUT)
			continue;
		if (!looked)
		{
			look(p->item_id, &view);
			proved = is_proved(&view, began);
			looked = true;
		}
		if (proved || is_out_of_reach(&view, p, made))
			continue;
		list[i] = list[open];
		list[open++] = p;
	}
	return open;
}


/*
 * Waiting
 */

/*
 * May this node sell the item, or has it started too recently, or not heard of
 * home since?  An entry remembers that it may.
 */
bool
seckill_share_may_sell(int64 item_id, CacheEntry *entry)
{
	ShareView	view;
	ClockTime	now;

	if (entry != NULL && seckill_cache_certified_until(entry) > 0)
		return true;
	look(item_id, &view);
	now = seckill_clock();
	if (now < view.silent_until || (!view.greeted && now < view.greet_until))
		return false;
	if (entry != NULL)
		seckill_cache_set_certified(entry, LOOKED_AT);
	return true;
}

/*
 * Wait until this node may sell after its start; false if it may not before a
 * time.
 */
bool
seckill_share_await_silence(const Purchase *p, ClockTime until)
{
	while (!seckill_share_may_sell(p->item_id, p->entry))
	{
		ShareView	view;
		ClockTime	now = seckill_clock();

		if (now >= until)
			return false;
		CHECK_FOR_INTERRUPTS();
		look(p->item_id, &view);
		if (now < view.silent_until)
			(void) seckill_share_await(seckill_catalog()->items, p->item_id,
									   PG_UINT64_MAX, Min(until, view.silent_until));
		else
			(void) seckill_share_await(seckill_catalog()->items, p->item_id,
									   view.answered + 1,
									   Min(until, view.greet_until));
	}
	return true;
}

/*
 * The purchases have waited: move those that still belong to this node, by the
 * latest row of the item, to the front; return their number.
 */
int
seckill_share_keep_own(Purchase **list, int n)
{
	ItemRow		row;
	int			own = 0;

	if (!seckill_item_read_latest(list[0]->item_id, &row))
		seckill_unknown_item(list[0]->item_id);
	for (int i = 0; i < n; i++)
	{
		Purchase   *p = list[i];

		p->rules.split = row.rules.split;
		if (seckill_share_is_elsewhere(p))
		{
			p->outcome = SECKILL_MOVED;
			continue;
		}
		list[i] = list[own];
		list[own++] = p;
	}
	return own;
}

/* Does this transaction have a lock that the share worker needs? */
static bool
has_lock(int64 item_id)
{
	return seckill_change_locked_row(item_id) ||
		seckill_lock_is_mine(item_id, SECKILL_LOCK_ITEM);
}

/*
 * Have the share worker ask the other nodes for the units that the purchases
 * want, and wait for the end of that.  Returns false if it is not worth the
 * while, or takes until a time.
 */
bool
seckill_share_ask(Purchase **list, int n, ClockTime until)
{
	ShareView	view;
	int64		units = 0;
	int32		smallest = PG_INT32_MAX;
	int64		item_id = list[0]->item_id;
	uint64		number;

	for (int i = 0; i < n; i++)
	{
		units += list[i]->quantity;
		smallest = Min(smallest, list[i]->quantity);
	}
	number = seckill_share_add_want(seckill_catalog()->items, item_id, units, smallest);
	SECKILL_FAULT("units wanted");
	look(item_id, &view);
	return !view.failed && !has_lock(item_id) &&
		seckill_share_await(seckill_catalog()->items, item_id, number, until);
}

static void
not_answered(int64 item_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("units of item " INT64_FORMAT " may be on another node, which has not answered",
					item_id),
			 errhint("Retry in a moment.")));
}

/* Has the share fewer units than a purchase wants?  Only a hint. */
static bool
is_short(const Purchase *p)
{
	ItemRow		row;

	if (!seckill_item_read_latest(p->item_id, &row))
		seckill_unknown_item(p->item_id);
	return (int64) row.stock + (p->entry != NULL ?
								seckill_cache_avail(p->entry) : row.leased) < p->quantity;
}

/*
 * Get units for p before it takes a lock that the share worker needs, unless
 * it is sold out, or cannot wait, or has waited long enough.
 */
void
seckill_share_fetch(const Purchase *p)
{
	Purchase   *list[] = {(Purchase *) p};
	ClockTime	made = seckill_clock();
	ClockTime	until = made + USECS(seckill_move_wait);

	if (p->rules.split.n == 0)
		return;
	if (!seckill_share_await_silence(p, until))
		not_answered(p->item_id);
	if (has_lock(p->item_id))
		return;
	while (is_short(p))
	{
		ShareView	view;

		CHECK_FOR_INTERRUPTS();
		look(p->item_id, &view);
		if (seckill_clock() < view.certified_until ||
			seckill_clock() < view.proved_until ||
			is_out_of_reach(&view, p, made) ||
			!seckill_share_ask(list, 1, until))
			break;
	}
}


/*
 * Decisions of others
 */

/*
 * The queue worker has found no units for a purchase of a split item, which it
 * began to look for at a time.  Returns "sold_out", "busy", or "queued" if the
 * share worker was asked for them.  Of a purchase that was queued before the
 * item was split it is not known since when it waits.
 */
SeckillOutcome
seckill_share_defer(const Purchase *p, ClockTime began)
{
	ShareView	view;

	look(p->item_id, &view);
	if (is_proved(&view, began) ||
		(p->queued_at > 0 && is_out_of_reach(&view, p, p->queued_at)))
		return SECKILL_SOLD_OUT;
	(void) seckill_share_add_want(seckill_catalog()->items, p->item_id, p->quantity,
							  p->quantity);
	return seckill_clock() - p->queued_at < USECS(seckill_move_wait) ?
		SECKILL_QUEUED : SECKILL_BUSY;
}

/*
 * Raise an error unless it is true for everybody that the item is sold out, of
 * which p has found no units here by a look that began at a time.  made is the
 * time of the call.
 */
void
seckill_share_check_sold_out(const Purchase *p, ClockTime made, ClockTime began)
{
	ShareView	view;

	if (p->rules.split.n == 0)
		return;
	look(p->item_id, &view);
	if (!is_proved(&view, began) && !is_out_of_reach(&view, p, made))
		not_answered(p->item_id);
}


/*
 * Units that return
 */

/*
 * The caller has locked the row of the item, and is about to put units on sale
 * or has done so: wait until no promise of this node speaks against it.
 */
void
seckill_share_await_promises(int64 item_id, const SaleRules *rules)
{
	ShareView	view;

	if (likely(rules->split.n == 0))
		return;
	for (;;)
	{
		look(item_id, &view);
		if (seckill_clock() >= view.bound_until)
			break;
		CHECK_FOR_INTERRUPTS();
		(void) seckill_share_await(seckill_catalog()->items, item_id,
								   PG_UINT64_MAX, view.bound_until);
	}
	SECKILL_FAULT("promises are over");
}

/* Would whoever returns units of an item have to wait for a promise? */
bool
seckill_share_is_bound(int64 item_id)
{
	ItemRow		row;
	ShareView	view;

	if (seckill_catalog()->node == 0 ||
		!seckill_item_read_latest(item_id, &row) || row.rules.split.n == 0)
		return false;
	look(item_id, &view);
	return seckill_clock() < view.bound_until;
}

/* Raise an error if units of the item are put on sale on another node. */
void
seckill_share_check_home(int64 item_id, const SaleRules *rules)
{
	if (likely(rules->split.n == 0) ||
		rules->split.node[0] == seckill_catalog()->node)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("item " INT64_FORMAT " is split over nodes, and this is not its home",
					item_id),
			 errhint("Its units are put on sale and taken off on node %d.",
					 rules->split.node[0])));
}

/*
 * Raise an error if units of the item may be on other nodes.  The caller has
 * locked the row of home, so none goes there meanwhile.
 */
void
seckill_share_check_gathered(int64 item_id, const SaleRules *rules)
{
	ShareView	view;

	if (likely(rules->split.n == 0))
		return;
	look(item_id, &view);
	if (seckill_clock() >= view.proved_until)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("units of item " INT64_FORMAT " may be on other nodes",
						item_id),
				 errhint("CALL seckill_gather(), which brings all units home and can set their number.")));
}


/*
 * Numbers
 */

/* How many numbers this node has of an item, as its row says. */
static int64
count_numbers(const ItemRow *row)
{
	return row->supplied + seckill_numbers_count(row->off_sale);
}

/*
 * The numbers that this node has of an item: on the locked row, off sale,
 * leased or in orders.  If one node sells the item, these are all.
 */
NumberSet *
seckill_share_numbers(int64 item_id, const ItemRow *row)
{
	int64		n = count_numbers(row);
	NumberSet  *all;

	if (row->rules.split.n > 0)
		return seckill_numbers_read(seckill_shares_numbers(item_id, &row->rules.split,
														   n, true));
	all = seckill_numbers_make();
	if (n > 0)
		seckill_numbers_append(all, 1, (int32) n);
	return all;
}

/*
 * The highest number of an item whose numbers are put on sale here; its row is
 * locked.
 */
int64
seckill_share_last_number(int64 item_id, const ItemRow *row)
{
	int64		n = count_numbers(row);

	if (row->rules.split.n > 0)
		n += seckill_numbers_count(seckill_shares_elsewhere(item_id));
	return n;
}
