/*
 * rules.c
 *		The checks that a purchase passes before it asks for units.
 *
 * These are the window of the sale, "sold out", the admission token and the
 * rate limit of the user.  The rules of an item are columns of its row.  The
 * cache entry has a copy, which one session at a time reads anew from the row
 * once it is older than CHECK_INTERVAL; the others go on with the copy.  A
 * transaction that has changed the row reads the row.
 *
 * A trip of a booking that was proved to be sold out is refused by the seat
 * map.
 *
 * Nothing here takes a lock that lasts; reads of the copy take none at all.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/settings.h"
#include "sale/await.h"
#include "sale/rules.h"
#include "sale/share.h"
#include "sale/token.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/moves.h"
#include "shmem/rate.h"
#include "shmem/seat_map.h"
#include "table/item_row.h"
#include "table/routes.h"
#include "xact/changes.h"
#include "xact/entry.h"
#include "xact/seat_hold.h"

/* Age at which the cached rules of an item are read anew from its row. */
#define CHECK_INTERVAL	USECS_PER_SEC


/*
 * Rules
 */

/* Return the outcome of a purchase that the rules refuse. */
SeckillOutcome
seckill_rules_refusal(RulesAnswer answer)
{
	switch (answer)
	{
		case RULES_NOT_STARTED:
			return SECKILL_NOT_STARTED;
		case RULES_ENDED:
			return SECKILL_ENDED;
		case RULES_SOLD_OUT:
			return SECKILL_SOLD_OUT;
		case RULES_NO_TOKEN:
			return SECKILL_DENIED;
		case RULES_ONE_BY_ONE:
			return SECKILL_LIMIT_REACHED;
		case RULES_UNKNOWN_ITEM:
			return SECKILL_UNKNOWN_ITEM;
		case RULES_MOVING:
			return SECKILL_BUSY;
		case RULES_MOVED:
			return SECKILL_MOVED;
		case RULES_PASSED:
			break;
	}
	elog(ERROR, "unexpected answer of the rules: %d", (int) answer);
	pg_unreachable();
}

/* Refuse purchases of an item that is not sold here; false if it is. */
bool
seckill_rules_refuse_elsewhere(Purchase **list, int n, ItemPlace place)
{
	if (place == PLACE_HERE)
		return false;
	for (int i = 0; i < n; i++)
		list[i]->outcome = place == PLACE_GONE ? SECKILL_MOVED : SECKILL_BUSY;
	return true;
}

/* Is the sale open, and is it here? */
RulesAnswer
seckill_rules_check_window(const SaleRules *rules, TimestampTz now)
{
	if (rules->place == PLACE_GONE)
		return RULES_MOVED;
	if (rules->place != PLACE_HERE || !seckill_node_is_open())
		return RULES_MOVING;
	if (now < rules->starts_at)
		return RULES_NOT_STARTED;
	if (now >= rules->ends_at)
		return RULES_ENDED;
	return RULES_PASSED;
}

/*
 * Raise an error if the item has seats and p wants units, or vice versa, or if
 * the trip of a booking does not end on the item's line.
 */
void
seckill_rules_check_kind(const Purchase *p)
{
	if (p->rules.legs > 0 && p->trip.to == 0)
		seckill_has_seats(p->item_id);
	if (p->rules.legs == 0 && p->trip.to > 0)
		seckill_has_units(p->item_id);
	if (p->trip.to > p->rules.legs)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("to_stop must be at most %d", p->rules.legs),
				 errdetail("Item " INT64_FORMAT " has so many legs.",
						   p->item_id)));
}

/*
 * Seats must be booked, and units bought.  Units of an item with seats are an
 * error, unless an array asks for them, see seckill_rules_check().
 */
static void
check_kind(const Purchase *p)
{
	if (unlikely((p->rules.legs | p->trip.to) != 0) && !p->in_array)
		seckill_rules_check_kind(p);
}

/*
 * Check the window by the latest row, and store the rules in the entry, which
 * is made if there is none.  An item that does not exist gets no entry.
 * Before a purchase is queued, the read keeps no lock, as the caller is going
 * to wait without a lock that the deadlock detector sees.
 */
static RulesAnswer
check_row(Purchase *p)
{
	uint64		generation = seckill_await_generation(p->entry);
	ItemRow		row;
	bool		found = p->mode == SECKILL_MODE_QUEUE ?
		seckill_item_read_latest_unlocked(p->item_id, &row) :
		seckill_item_read_latest(p->item_id, &row);

	if (!found)
	{
		seckill_routes_check(p->item_id);
		return RULES_UNKNOWN_ITEM;
	}
	if (p->entry == NULL)
		p->entry = seckill_entry_enter(p->item_id);
	else
		seckill_cache_store_rules(p->entry, generation, &row, p->called_at);
	p->rules = row.rules;
	check_kind(p);
	return seckill_rules_check_window(&row.rules, p->called_at);
}

/*
 * The item is being moved: wait until it is sold here or elsewhere, but no
 * longer than seckill.move_wait.
 */
static RulesAnswer
await_place(Purchase *p)
{
	ClockTime	until = seckill_clock() + USECS(seckill_move_wait);
	RulesAnswer answer;

	seckill_moves_begin_wait();
	do
		answer = check_row(p);
	while (answer == RULES_MOVING && p->rules.place != PLACE_HERE &&
		   seckill_moves_wait(until));
	seckill_moves_end_wait();
	p->called_at = GetCurrentTimestamp();
	return answer;
}

/* Are the cached rules stale?  The clock may have been set back since. */
static bool
is_stale(const CachedRules *cached, TimestampTz now)
{
	return now - cached->checked_at > CHECK_INTERVAL ||
		now < cached->checked_at - CHECK_INTERVAL;
}

/* Does the purchase ask for several units, while each has a number? */
static bool
wants_several(const Purchase *p)
{
	return p->rules.numbered && p->quantity != 1;
}

/*
 * Raise an error if the purchase does not suit the units of the item: they
 * have numbers, or have none although the caller asks for the value.  The
 * quantity in an array is not the caller's, so it has an outcome instead, see
 * seckill_rules_check_own().
 */
static void
check_suits(const Purchase *p)
{
	if (!p->rules.numbered && p->wants_value)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("units of item " INT64_FORMAT " have no numbers",
						p->item_id),
				 errhint("Use seckill_buy(), or sell an item that was created with numbered => true.")));
	if (wants_several(p) && !p->in_array)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("units of item " INT64_FORMAT " have numbers and are sold one by one",
						p->item_id),
				 errhint("Buy several with seckill_claim_many(): one order for each unit.")));
	if (p->rules.numbered && p->mode == SECKILL_MODE_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("mode \"none\" cannot sell units that have numbers"),
				 errhint("Use another mode.")));
}

/*
 * Is the trip of a booking known to be sold out?  What this transaction has
 * returned others do not see.
 */
static bool
is_trip_sold_out(const Purchase *p)
{
	return p->named_seats == NULL && !seckill_seat_hold_has(p->item_id) &&
		seckill_seat_map_is_sold_out(seckill_catalog()->items, p->item_id,
									 &p->trip, p->called_at);
}

/* Check the rules as seckill_rules_check() does, but not check_suits(). */
static RulesAnswer
check(Purchase *p)
{
	TimestampTz now = GetCurrentTimestamp();
	CachedRules cached;
	RulesAnswer answer;

	p->called_at = now;
	p->entry = seckill_entry_find(p->item_id);
	if (p->entry == NULL || seckill_change_changed_row(p->item_id))
		return check_row(p);

	seckill_cache_read_rules(p->entry, &cached);
	if (!cached.known ||
		(is_stale(&cached, now) &&
		 seckill_cache_claim_check(p->entry, cached.checked_at, now)))
	{
		answer = check_row(p);
		seckill_cache_read_rules(p->entry, &cached);
	}
	else
	{
		p->rules = cached.rules;
		check_kind(p);
		answer = seckill_rules_check_window(&cached.rules, now);
	}
	SECKILL_FAULT("rules known");
	if (answer == RULES_PASSED &&
		(cached.sold_out || (p->trip.to > 0 && is_trip_sold_out(p)) ||
		 (unlikely(p->rules.split.n > 0) && seckill_share_is_sold_out(p->entry))))
		return RULES_SOLD_OUT;
	return answer;
}

/*
 * Check the window of the sale and whether the item is known to be sold out.
 * Fills called_at and rules of p, and leaves the entry pinned in it.  Without
 * the item the rules stay as they are, and there may be an entry all the same.
 * Raises an error if the purchase does not suit the item.  To an array an item
 * with seats is one that does not exist.
 */
RulesAnswer
seckill_rules_check(Purchase *p)
{
	RulesAnswer answer = check(p);

	if (answer == RULES_MOVING && p->rules.place != PLACE_HERE)
		answer = await_place(p);
	if (p->in_array && p->rules.legs > 0 && answer != RULES_MOVED)
		return RULES_UNKNOWN_ITEM;
	if (answer != RULES_UNKNOWN_ITEM && answer != RULES_MOVED)
		check_suits(p);
	return answer;
}

/*
 * Check the window for a list of purchases of one item.  The check is made for
 * the first; the others get its entry, called_at and rules.
 */
RulesAnswer
seckill_rules_check_all(Purchase **list, int n)
{
	Purchase   *first = list[0];
	RulesAnswer answer = seckill_rules_check(first);

	for (int i = 1; i < n; i++)
	{
		Purchase   *p = list[i];

		p->entry = first->entry;
		p->called_at = first->called_at;
		p->rules = first->rules;
		if (answer != RULES_UNKNOWN_ITEM && answer != RULES_MOVED)
			check_suits(p);
	}
	return answer;
}


/*
 * Tokens and rates
 */

/*
 * Does the purchase have a valid token, or need none?  The answer is kept in
 * p.
 */
bool
seckill_rules_has_token(Purchase *p)
{
	if (!p->rules.require_token)
		return true;
	if (!p->token_checked)
	{
		p->token_valid = seckill_token_admits(p);
		p->token_checked = true;
	}
	return p->token_valid;
}

/*
 * Check what each purchase of a list has of its own, given what the rules of
 * the item have answered: its user's node, if the item is split over nodes, the
 * token, if it needs one, and one unit at a time, if they have numbers.  A
 * purchase without its token does not learn whether the item is sold out.
 */
RulesAnswer
seckill_rules_check_own(Purchase *p, RulesAnswer answer)
{
	if (answer != RULES_UNKNOWN_ITEM && seckill_share_is_elsewhere(p))
		return RULES_MOVED;
	if ((answer == RULES_PASSED || answer == RULES_SOLD_OUT) &&
		!seckill_rules_has_token(p))
		return RULES_NO_TOKEN;
	return answer != RULES_UNKNOWN_ITEM && wants_several(p) ?
		RULES_ONE_BY_ONE : answer;
}

/*
 * Count the call against the rate of its user; return false, with the outcome
 * set, if it exceeds that rate.
 *
 * A call that lacks the token that it needs does not count, as its caller may
 * not be the user that it names.  Without a key no call has a token.  That is
 * an error, but not raised here, as an exact retry needs no token.
 */
bool
seckill_rules_keeps_rate(Purchase *p)
{
	if (!seckill_rate_applies(p) ||
		(p->rules.require_token &&
		 (seckill_token_key[0] == '\0' || !seckill_rules_has_token(p))) ||
		seckill_rate_admits(p))
		return true;
	p->outcome = SECKILL_RATE_LIMITED;
	return false;
}

/*
 * Move the purchases that are within the rate of their users to the front;
 * return their number.
 */
int
seckill_rules_drop_rate_limited(Purchase **list, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
		if (seckill_rules_keeps_rate(list[i]))
			list[kept++] = list[i];
	return kept;
}

/*
 * Join the callers that are in a row mode of the item; return false if
 * max_waiters of them are waiting already.  Without an entry nothing counts
 * them.
 */
bool
seckill_rules_may_join(const Purchase *p, SeckillMode mode)
{
	int32		max_waiters = p->rules.max_waiters >= 0 ?
		p->rules.max_waiters : seckill_max_waiters;

	if (max_waiters == 0 || p->entry == NULL ||
		mode < SECKILL_MODE_OPTIMISTIC || mode > SECKILL_MODE_ADVISORY)
		return true;
	return seckill_cache_join(p->entry, max_waiters);
}
