/*
 * limits.c
 *		Admission of purchases: request ids and limits per user.
 *
 * A request_id is an idempotency key: a retry with the same (item,
 * request_id), at the same time or later, is answered with the order that the
 * first one has made.  The same request_id with another user or another
 * quantity is a mistake of the caller: it is answered with "request_reused",
 * is never sold, and never learns of the order.
 *
 * A user buys no more units of an item than its per_user_limit, or, with a
 * limit_window, than that in any time of this length.  The time of an order is
 * its created_at, the start of the transaction that bought.  A purchase counts
 * the orders on both sides of its own time: transactions that began earlier may
 * commit later, and the clock may have been set back.  So no window has more
 * than the limit, as the times stand in the table.
 *
 * Both are decided under a heavyweight lock on the request or the user, kept
 * to the end of the transaction: the next holder of the lock sees the order or
 * its absence, at any isolation level, as orders are read with the latest
 * snapshot.  The key of a lock is a hash; a collision makes strangers wait for
 * each other and does no other harm.  A batch of the queue claims all its users
 * and requests at once instead while nobody else has such a lock.
 *
 * Locks are taken in the order request, user, item lock, row, and of one kind
 * in ascending order of their keys, so transactions with one call each cannot
 * deadlock.
 *
 * The functions take a list of purchases of one item.  The admitted ones are
 * moved to the front of the list, in their order, and counted.  The others
 * have their outcome; in the queue they may be left undecided instead.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"

#include "base/fault.h"
#include "sale/limits.h"
#include "seckill.h"
#include "table/order_scan.h"
#include "xact/hash_lock.h"
#include "xact/lock.h"
#include "xact/standby.h"

/*
 * Locks
 */

static uint64
hash_user(const Purchase *p)
{
	int64		key[] = {p->item_id, p->user_id};

	return hash_bytes_extended((unsigned char *) key, sizeof(key), 0);
}

static uint64
hash_request(const Purchase *p)
{
	return hash_bytes_extended(p->request_id.data, UUID_LEN,
							   (uint64) p->item_id);
}

/* Does this transaction have a lock that the queue worker would wait for? */
bool
seckill_limits_locked_by_me(const Purchase *p)
{
	return seckill_lock_is_mine((int64) hash_user(p), SECKILL_LOCK_USER) ||
		(p->has_request &&
		 seckill_lock_is_mine((int64) hash_request(p), SECKILL_LOCK_REQUEST));
}

/*
 * Claim all users, or the requests of those that have one, in place of their
 * locks; false if they must be locked.
 */
static bool
claim(Purchase **list, int n, bool requests)
{
	uint64	   *hashes = palloc(n * sizeof(uint64));
	int			count = 0;
	bool		claimed;

	for (int i = 0; i < n; i++)
		if (!requests)
			hashes[count++] = hash_user(list[i]);
		else if (list[i]->has_request)
			hashes[count++] = hash_request(list[i]);
	claimed = seckill_hash_lock_claim(hashes, count);
	pfree(hashes);
	return claimed;
}


/*
 * Groups
 */

/* By position in the list, which is the order of the addresses. */
static int
compare_positions(const Purchase *p, const Purchase *q)
{
	return p < q ? -1 : p > q;
}

static int
compare_users(const void *a, const void *b)
{
	const Purchase *p = *(Purchase *const *) a;
	const Purchase *q = *(Purchase *const *) b;

	if (p->user_id != q->user_id)
		return p->user_id < q->user_id ? -1 : 1;
	return compare_positions(p, q);
}

static int
compare_requests(const void *a, const void *b)
{
	const Purchase *p = *(Purchase *const *) a;
	const Purchase *q = *(Purchase *const *) b;
	int			order = memcmp(p->request_id.data, q->request_id.data, UUID_LEN);

	return order != 0 ? order : compare_positions(p, q);
}

static Purchase **
sort(Purchase **list, int n, int (*compare) (const void *, const void *))
{
	Purchase  **sorted = palloc(n * sizeof(Purchase *));

	memcpy(sorted, list, n * sizeof(Purchase *));
	if (n > 1)
		qsort(sorted, n, sizeof(Purchase *), compare);
	return sorted;
}

/* Move the admitted purchases to the front; return their number. */
static int
keep_admitted(Purchase **list, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
		if (list[i]->admitted)
			list[kept++] = list[i];
	return kept;
}


/*
 * Requests
 */

/* Is the purchase a retry of the request, and not another use of its id? */
static bool
is_retry(const Purchase *p, int64 user_id, int32 quantity)
{
	return p->user_id == user_id && p->quantity == quantity;
}

/* Is the seat among the pieces? */
static bool
has_seat(const SeatPiece *pieces, int n, int32 seat)
{
	for (int i = 0; i < n; i++)
		if (pieces[i].seat == seat)
			return true;
	return false;
}

/* Did the order of the request book the trip of p, and the seats it names? */
static bool
is_same_booking(const Purchase *p, const OrderOfRequest *order)
{
	uint64		legs = 0;

	for (int i = 0; i < order->npieces; i++)
		legs |= order->pieces[i].legs;
	if (legs != (p->trip.to == 0 ? 0 :
				 seat_trip_legs(p->trip.from, p->trip.to)))
		return false;
	for (int i = 0; p->named_seats != NULL && i < p->quantity; i++)
		if (!has_seat(order->pieces, order->npieces, p->named_seats[i]))
			return false;
	return true;
}

/*
 * Answer p with the order of its request; return false if there is none.
 * Waits until that order is on disk, and makes the commit of this transaction
 * wait for the synchronous standby, which then has the order too.
 */
static bool
answer(OrderScan *scan, Purchase *p)
{
	OrderOfRequest order;

	if (!seckill_order_scan_requested(scan, p->item_id, &p->request_id, &order))
		return false;
	if (!is_retry(p, order.user_id, order.quantity) ||
		!is_same_booking(p, &order))
	{
		p->outcome = SECKILL_REQUEST_REUSED;
		return true;
	}
	seckill_standby_await_flush(order.xmin, p->mode == SECKILL_MODE_QUEUE);
	seckill_standby_await();
	p->order_id = order.order_id;
	p->unit = 0;
	p->outcome = SECKILL_SOLD;
	return true;
}

/*
 * Answer a single purchase with the order of its request, without the lock on
 * the request; return false if there is no order.
 */
bool
seckill_limits_answer_request(Purchase *p)
{
	OrderScan  *scan = seckill_order_scan_begin(true);
	bool		answered = answer(scan, p);

	seckill_order_scan_end(scan);
	return answered;
}

/* p is a duplicate of first, which is decided for both. */
static void
mark_duplicate(Purchase *p, Purchase *first)
{
	p->admitted = false;
	p->duplicate_of = first;
}

/*
 * Answer p with the order of its request, if there is one.  The request is
 * locked for p or for the purchase that it is a duplicate of.  A duplicate of
 * a purchase that was answered looks for the order itself: p may be the retry
 * of that order, and the first purchase the one that reused the request_id.
 */
static void
answer_if_ordered(OrderScan *scan, Purchase *p)
{
	if (p->duplicate_of != NULL)
	{
		if (!p->duplicate_of->admitted && p->duplicate_of->outcome != SECKILL_QUEUED &&
			answer(scan, p))
			p->duplicate_of = NULL;
	}
	else if (p->admitted && answer(scan, p))
		p->admitted = false;
}

/*
 * Lock the requests of the sorted list.  Of each request, the first purchase
 * is admitted if the lock was taken, and the others are its duplicates.
 */
static void
lock_requests(Purchase **sorted, int n, bool may_wait)
{
	bool		claimed = !may_wait && claim(sorted, n, true);
	Purchase   *first = NULL;

	for (int i = 0; i < n; i++)
	{
		Purchase   *p = sorted[i];

		if (!p->has_request)
			continue;
		if (first != NULL &&
			memcmp(first->request_id.data, p->request_id.data, UUID_LEN) == 0)
			mark_duplicate(p, first);
		else
		{
			first = p;
			p->admitted = claimed ||
				seckill_hash_lock(hash_request(p), SECKILL_LOCK_REQUEST, may_wait);
		}
	}
}

/*
 * Admit purchases without a request, and of each request without an order the
 * first one.  If may_wait is false, a request that others have locked is left
 * undecided.  Returns the number of admitted purchases.
 */
int
seckill_limits_admit_requests(Purchase **list, int n, bool may_wait)
{
	Purchase  **sorted;
	OrderScan  *scan;
	int			requests = 0;

	for (int i = 0; i < n; i++)
	{
		list[i]->admitted = true;
		requests += list[i]->has_request;
	}
	if (requests == 0)
		return n;
	sorted = sort(list, n, compare_requests);
	lock_requests(sorted, n, may_wait);
	SECKILL_FAULT("requests locked");
	scan = seckill_order_scan_begin(true);
	for (int i = 0; i < n; i++)
		if (sorted[i]->has_request)
			answer_if_ordered(scan, sorted[i]);
	SECKILL_FAULT("requests looked up");
	seckill_order_scan_end(scan);
	pfree(sorted);
	return keep_admitted(list, n);
}

/*
 * Answer a duplicate with the outcome of the first purchase.  If it is no
 * retry of that one, its request_id has been reused.  In the queue only an
 * order uses a request_id up; without one the duplicate is decided in a later
 * batch.
 */
static void
answer_duplicate(Purchase *p)
{
	const Purchase *first = p->duplicate_of;

	if (is_retry(p, first->user_id, first->quantity) &&
		p->trip.from == first->trip.from && p->trip.to == first->trip.to)
	{
		p->outcome = first->outcome;
		p->order_id = first->order_id;
		p->unit = first->unit;
	}
	else if (p->ticket == 0 || first->outcome == SECKILL_SOLD)
		p->outcome = SECKILL_REQUEST_REUSED;
	else
		p->outcome = SECKILL_QUEUED;
}

/* Answer the duplicates in a list, once the others are decided. */
void
seckill_limits_answer_duplicates(Purchase **list, int n)
{
	for (int i = 0; i < n; i++)
		if (list[i]->duplicate_of != NULL)
			answer_duplicate(list[i]);
}


/*
 * Limits
 */

/* Return the end of the purchases of one user, which start at first. */
static int
end_of_user(Purchase **sorted, int n, int first)
{
	int			end = first + 1;

	while (end < n && sorted[end]->user_id == sorted[first]->user_id)
		end++;
	return end;
}

/* Lock the users of the sorted list; admit the purchases of those locked. */
static void
lock_users(Purchase **sorted, int n, bool may_wait)
{
	bool		claimed = !may_wait && claim(sorted, n, false);
	int			end;

	for (int first = 0; first < n; first = end)
	{
		bool		locked = claimed ||
			seckill_hash_lock(hash_user(sorted[first]), SECKILL_LOCK_USER, may_wait);

		end = end_of_user(sorted, n, first);
		for (int i = first; i < end; i++)
			sorted[i]->admitted = locked;
	}
}

/*
 * The units that count against the limit of a purchase: those of the user's
 * orders that some window has in common with its order.
 */
static int64
count_bought(OrderScan *scan, const Purchase *p)
{
	int64		window = p->rules.limit_window;
	TimestampTz time = p->ordered_at != 0 ? p->ordered_at :
		GetCurrentTransactionStartTimestamp();

	if (window == 0 || TIMESTAMP_NOT_FINITE(time))
		return seckill_order_scan_bought(scan, p->item_id, p->user_id,
										 DT_NOBEGIN, DT_NOEND);
	return seckill_order_scan_bought(scan, p->item_id, p->user_id,
									 time - window + 1, time + window - 1);
}

/*
 * Admit the purchases of one locked user, in their order, up to the limit.  A
 * purchase counts against the limit as soon as it is admitted, even if it
 * turns out to be sold out.
 */
static void
admit_user(OrderScan *scan, Purchase **list, int n)
{
	int64		left = list[0]->rules.per_user_limit - count_bought(scan, list[0]);

	for (int i = 0; i < n; i++)
	{
		Purchase   *p = list[i];

		p->admitted = p->quantity <= left;
		if (p->admitted)
			left -= p->quantity;
		else
			p->outcome = SECKILL_LIMIT_REACHED;
	}
}

/*
 * Admit the purchases that are within the per_user_limit of the item.  If
 * may_wait is false, those of users that others have locked are left
 * undecided.  Returns the number of admitted purchases.
 */
int
seckill_limits_admit_users(Purchase **list, int n, bool may_wait)
{
	Purchase  **sorted;
	OrderScan  *scan;
	int			end;

	if (n == 0 || list[0]->rules.per_user_limit == 0)
		return n;
	sorted = sort(list, n, compare_users);
	lock_users(sorted, n, may_wait);
	SECKILL_FAULT("users locked");
	scan = seckill_order_scan_begin(false);
	for (int first = 0; first < n; first = end)
	{
		end = end_of_user(sorted, n, first);
		if (sorted[first]->admitted)
			admit_user(scan, &sorted[first], end - first);
	}
	SECKILL_FAULT("users counted");
	seckill_order_scan_end(scan);
	pfree(sorted);
	return keep_admitted(list, n);
}
