/*
 * admit.c
 *		Who may buy: exact retries and limits per user.
 *
 * A request is asked for once: the same (item, request_id) again, at the same
 * time or later, answers with the order that the first has made (idempotency
 * key).  The same request by another user or for another quantity is a mistake
 * of the caller's, "request_reused": never sold, and never told of the order.
 * A user buys no more units of an item than its per_user_limit.
 *
 * Both are decided under a heavyweight lock on what they are about, kept to
 * the end of the transaction: whoever asks next sees the order or its absence,
 * at any isolation level, as the orders are read under the latest snapshot.
 * The key of a lock is a hash; a collision makes strangers wait for each other
 * and does no other harm.
 *
 * Locks are taken in the order request, user, line, row, and of one kind in
 * the order of the keys, so purchases of one transaction each cannot deadlock.
 *
 * The functions serve lists of purchases of one item.  Those who are to be
 * served stay at the front of the list, in their order, and are counted; the
 * others have their outcome, or, in the queue, are left for another time.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"

#include "base/fault.h"
#include "sale/limits.h"
#include "seckill.h"
#include "table/order_scan.h"
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


/* Has this transaction a lock that the worker would wait for? */
bool
seckill_limits_locked_by_me(const Purchase *p)
{
	return seckill_lock_has_hash(hash_user(p), SECKILL_LOCK_USER) ||
		(p->has_request && seckill_lock_has_hash(hash_request(p), SECKILL_LOCK_REQUEST));
}


/*
 * Groups
 */

/* In the order of the list: that of the addresses. */
static int
compare_places(const Purchase *p, const Purchase *q)
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
	return compare_places(p, q);
}

static int
compare_requests(const void *a, const void *b)
{
	const Purchase *p = *(Purchase *const *) a;
	const Purchase *q = *(Purchase *const *) b;
	int			order = memcmp(p->request_id.data, q->request_id.data, UUID_LEN);

	return order != 0 ? order : compare_places(p, q);
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

/* Keep those who are to be served at the front; returns their number. */
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

/* Is the purchase the one that the request was used for before? */
static bool
is_retry(const Purchase *p, int64 user_id, int32 quantity)
{
	return p->user_id == user_id && p->quantity == quantity;
}

/* Answer with the order that the request has made, if it has. */
static bool
answer(OrderScan *scan, Purchase *p)
{
	OrderOfRequest order;

	if (!seckill_order_scan_requested(scan, p->item_id, &p->request_id, &order))
		return false;
	if (!is_retry(p, order.user_id, order.quantity))
	{
		p->outcome = SECKILL_REQUEST_REUSED;
		return true;
	}
	seckill_standby_await_flush(order.xmin, p->mode == SECKILL_MODE_QUEUE);
	seckill_standby_await();
	p->order_id = order.order_id;
	p->outcome = SECKILL_SOLD;
	return true;
}

/* The same for one alone, without a lock. */
bool
seckill_limits_answer_request(Purchase *p)
{
	OrderScan  *scan = seckill_order_scan_begin(true);
	bool		answered = answer(scan, p);

	seckill_order_scan_end(scan);
	return answered;
}

/* p has the request of first, which is served for both. */
static void
follow(Purchase *p, Purchase *first)
{
	p->admitted = false;
	p->duplicate_of = first;
}

/*
 * Answer p, whose request is locked or follows one that is, with the order of
 * the request.  One that follows looks for itself if there is an order: it may
 * be its own, and the first one a mistake.
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
 * Lock the requests of the sorted list, and admit the first of each that could
 * be locked.
 */
static void
lock_requests(Purchase **sorted, int n, bool may_wait)
{
	Purchase   *first = NULL;

	for (int i = 0; i < n; i++)
	{
		Purchase   *p = sorted[i];

		if (!p->has_request)
			continue;
		if (first != NULL &&
			memcmp(first->request_id.data, p->request_id.data, UUID_LEN) == 0)
			follow(p, first);
		else
		{
			first = p;
			p->admitted = seckill_lock_hash(hash_request(p), SECKILL_LOCK_REQUEST,
											may_wait);
		}
	}
}

/*
 * Of each request that has not made an order, admit the first in the list.
 * Returns how many are admitted.
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
 * Answer p, which follows another, with the answer of that.  If it is no retry
 * of it, its request is used up; in the queue only by an order, else p is tried
 * again.
 */
static void
answer_twin(Purchase *p)
{
	const Purchase *first = p->duplicate_of;

	if (is_retry(p, first->user_id, first->quantity))
	{
		p->outcome = first->outcome;
		p->order_id = first->order_id;
	}
	else if (p->ticket == 0 || first->outcome == SECKILL_SOLD)
		p->outcome = SECKILL_REQUEST_REUSED;
	else
		p->outcome = SECKILL_QUEUED;
}

/* Answer those who follow another. */
void
seckill_limits_answer_duplicates(Purchase **list, int n)
{
	for (int i = 0; i < n; i++)
		if (list[i]->duplicate_of != NULL)
			answer_twin(list[i]);
}


/*
 * Limits
 */

/* The end of the purchases of one user, which start at first. */
static int
end_of_user(Purchase **sorted, int n, int first)
{
	int			end = first + 1;

	while (end < n && sorted[end]->user_id == sorted[first]->user_id)
		end++;
	return end;
}

/* Lock the users of the sorted list; admit those that could be locked. */
static void
lock_users(Purchase **sorted, int n, bool may_wait)
{
	int			end;

	for (int first = 0; first < n; first = end)
	{
		bool		locked = seckill_lock_hash(hash_user(sorted[first]),
											   SECKILL_LOCK_USER, may_wait);

		end = end_of_user(sorted, n, first);
		for (int i = first; i < end; i++)
			sorted[i]->admitted = locked;
	}
}

/*
 * Admit purchases of one user, who is locked, in their order, while the limit
 * lasts.  A later one does not hope that an earlier one finds nothing left.
 */
static void
admit_user(OrderScan *scan, Purchase **list, int n)
{
	int64		left = list[0]->rules.per_user_limit -
		seckill_order_scan_bought(scan, list[0]->item_id, list[0]->user_id);

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
 * Admit those whom the limit of the item, the same for all, lets buy.  Returns
 * their number.
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
