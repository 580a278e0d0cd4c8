/*
 * share_state.c
 *		Shares: what this node promises, knows and wants of the items that are
 *		split over nodes.
 *
 * A split item has a share of its units on each of several nodes, as a row, a
 * cache entry and orders.  The share worker exchanges units with the other
 * nodes.  What they have promised each other is in memory only: a share that
 * is not known here begins with a silence that is longer than any promise of a
 * former life of this server, or of the primary that it replaces.  So an
 * element can also be given to another item at any time.
 *
 * Buyers whose share is short add what they want to the next ask of the share
 * worker, and wait for its end.  What they want is forgotten when the ask
 * begins; who is still short then wants it again.  So nothing is left behind
 * by a buyer that is gone.
 *
 * A share that is new here also has the worker ask, though nobody wants units,
 * and sells nothing before the answer: home may go on without this node
 * (seckill_split_without()), and says so.  If home does not answer for a while,
 * it sells.
 *
 * Everything is under one LWLock, shared by readers: it is used only where a
 * share is short.  Nothing here raises but seckill_share_check_preloaded() and the waits.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#include "base/bgworker.h"
#include "base/compat.h"
#include "base/fault.h"
#include "shmem/databases.h"
#include "shmem/share_state.h"

/* Split items that one server knows at a time, and databases with a worker. */
#define SHARES		256
#define WORKERS		64

/* Pauses between asks that found nothing out, and after one that failed. */
#define FIRST_PAUSE		USECS(2)
#define LONGEST_PAUSE	USECS(50)
#define FAILED_PAUSE	USECS(200)

/* The silence of a share that is new here. */
#define SILENCE		(SHARE_PROMISE / 10 * 11)

/* How long home may take to answer the first ask after that. */
#define GREETING	USECS(2000)

typedef struct Share
{
	Oid			dbid;			/* InvalidOid: not in use */
	Oid			items;			/* OID of seckill.items */
	int64		item_id;
	pg_atomic_uint64 used;		/* the one used least recently is replaced */
	ShareView	view;
	uint64		asked;			/* number of the last ask that has begun */
	int64		wanted;			/* by buyers, for the next ask */
	int32		smallest;
	ClockTime	next_ask;		/* not before */
	ClockTime	pause;			/* length of the last pause */
} Share;

typedef struct Worker
{
	Oid			dbid;			/* InvalidOid: not in use */
	bool		started;		/* the postmaster was asked for it */
	int			pid;			/* 0: it does not run */
	Latch	   *latch;
} Worker;

typedef struct Shares
{
	LWLock	   *lock;
	ConditionVariable answered; /* an ask has ended */
	Share		shares[SHARES];
	Worker		workers[WORKERS];
} Shares;

static Shares *shares = NULL;
static uint32 share_event = 0;

static void
request(void)
{
	seckill_shmem_struct("seckill shares", sizeof(Shares), (void **) &shares);
}

static void
init(void)
{
	memset(shares, 0, sizeof(Shares));
	for (int i = 0; i < SHARES; i++)
		pg_atomic_init_u64(&shares->shares[i].used, 0);
	shares->lock = seckill_shmem_lock(&seckill_share_shmem);
	ConditionVariableInit(&shares->answered);
}

const SeckillShmem seckill_share_shmem = {
	.tranche = "seckill_shares",
	.request = request,
	.init = init
};

/* Raise an error without shared memory. */
void
seckill_share_check_preloaded(void)
{
	if (shares == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("an item that is split over nodes needs shared memory"),
				 errhint("Add seckill to shared_preload_libraries and restart the server.")));
}


/*
 * Elements
 */

static bool wake_worker(void);

/* Make the element an unused one. */
static void
forget(Share *share)
{
	memset(share, 0, sizeof(*share));
	pg_atomic_init_u64(&share->used, 0);
}

/* Make the element that of a share about which nothing is known. */
static void
reset(Share *share, Oid items, int64 item_id, ClockTime now)
{
	forget(share);
	pg_atomic_write_u64(&share->used, now);
	share->dbid = MyDatabaseId;
	share->items = items;
	share->item_id = item_id;
	share->view.silent_until = now + SILENCE;
	share->view.bound_until = now + SILENCE;
	share->view.greeted = !wake_worker();
	share->view.greet_until = now + SILENCE + GREETING;
}

/* Return the element of an item, or NULL.  Under the lock. */
static Share *
find(Oid items, int64 item_id)
{
	for (int i = 0; i < SHARES; i++)
	{
		Share	   *share = &shares->shares[i];

		if (share->item_id == item_id && share->items == items &&
			share->dbid == MyDatabaseId)
		{
			pg_atomic_write_u64(&share->used, seckill_clock());
			return share;
		}
	}
	return NULL;
}

/*
 * Return the element of an item, a new one if it has none.  Under the lock,
 * exclusively.
 */
static Share *
get(Oid items, int64 item_id)
{
	Share	   *share = find(items, item_id);

	if (share != NULL)
		return share;
	share = &shares->shares[0];
	for (int i = 1; i < SHARES; i++)
		if (pg_atomic_read_u64(&shares->shares[i].used) <
			pg_atomic_read_u64(&share->used))
			share = &shares->shares[i];
	reset(share, items, item_id, seckill_clock());
	return share;
}

/*
 * Copy what is known of a share.  A standby keeps nothing of it, as its silence
 * begins with its promotion: until then its primary makes promises.
 */
void
seckill_share_read(Oid items, int64 item_id, ShareView *view)
{
	Share	   *share;

	if (RecoveryInProgress())
	{
		memset(view, 0, sizeof(*view));
		view->silent_until = view->bound_until = seckill_clock() + SILENCE;
		return;
	}
	LWLockAcquire(shares->lock, LW_SHARED);
	share = find(items, item_id);
	if (share == NULL)
	{
		LWLockRelease(shares->lock);
		LWLockAcquire(shares->lock, LW_EXCLUSIVE);
		share = get(items, item_id);
	}
	*view = share->view;
	LWLockRelease(shares->lock);
}

/* Forget a dropped database.  For the commit callback. */
void
seckill_share_drop_database(Oid dbid)
{
	if (shares == NULL)
		return;
	LWLockAcquire(shares->lock, LW_EXCLUSIVE);
	for (int i = 0; i < SHARES; i++)
		if (shares->shares[i].dbid == dbid)
			forget(&shares->shares[i]);
	for (int i = 0; i < WORKERS; i++)
		if (shares->workers[i].dbid == dbid)
			memset(&shares->workers[i], 0, sizeof(Worker));
	LWLockRelease(shares->lock);
}


/*
 * Promises
 *
 * All three are made by a transaction that has locked the item's row, and has
 * found no unit there or on hold.  Units come to a row only under its lock, and
 * whoever brings them waits until the promise is over (sale/share.c).
 */

/*
 * Promise that no unit appears in this share before a time.  Returns false in
 * the silence, when nothing may be promised.
 */
bool
seckill_share_make_promise(Oid items, int64 item_id, ClockTime until)
{
	Share	   *share;
	bool		promised;

	LWLockAcquire(shares->lock, LW_EXCLUSIVE);
	share = get(items, item_id);
	promised = seckill_clock() >= share->view.silent_until;
	if (promised)
		share->view.bound_until = Max(share->view.bound_until, until);
	LWLockRelease(shares->lock);
	return promised;
}

/*
 * At home: all units of the item are here from now on, until a time.  A time
 * of 0 ends that.
 */
void
seckill_share_set_proof(Oid items, int64 item_id, ClockTime until)
{
	Share	   *share;

	LWLockAcquire(shares->lock, LW_EXCLUSIVE);
	share = get(items, item_id);
	if (until == 0 || share->view.proved_until < seckill_clock())
		share->view.proved_since = seckill_clock();
	share->view.proved_until = until;
	LWLockRelease(shares->lock);
}

/* The item is sold out on all nodes until a time. */
void
seckill_share_set_certified(Oid items, int64 item_id, ClockTime until)
{
	Share	   *share;

	LWLockAcquire(shares->lock, LW_EXCLUSIVE);
	share = get(items, item_id);
	share->view.certified_until = Max(share->view.certified_until, until);
	LWLockRelease(shares->lock);
}

/* At home: send no units before a time. */
void
seckill_share_set_keep(Oid items, int64 item_id, ClockTime until)
{
	LWLockAcquire(shares->lock, LW_EXCLUSIVE);
	get(items, item_id)->view.keep_until = until;
	LWLockRelease(shares->lock);
}


/*
 * Wants
 */

/* Return the worker of this database, or an unused element; NULL: none left. */
static Worker *
find_worker(void)
{
	Worker	   *workers = shares->workers;
	int			i = seckill_find_database(&workers[0].dbid, sizeof(Worker),
										  WORKERS, MyDatabaseId);

	if (i < 0)
		i = seckill_find_database(&workers[0].dbid, sizeof(Worker), WORKERS,
								  InvalidOid);
	return i < 0 ? NULL : &workers[i];
}

/*
 * Wake the worker of this database, or ask the postmaster for one; false if
 * none can be had.
 */
static bool
wake_worker(void)
{
	Worker	   *worker = find_worker();

	if (worker == NULL)
		return false;
	if (worker->pid != 0)
		SetLatch(worker->latch);
	else if (!worker->started)
	{
		worker->started = seckill_bgworker_register("seckill share worker",
													"seckill_share_worker_main");
		worker->dbid = worker->started ? MyDatabaseId : InvalidOid;
	}
	return worker->started;
}

/*
 * Add units that buyers wait for, of whom one waits for as few as smallest, to
 * the next ask.  Returns its number.
 */
uint64
seckill_share_add_want(Oid items, int64 item_id, int64 units, int32 smallest)
{
	Share	   *share;
	uint64		number;

	LWLockAcquire(shares->lock, LW_EXCLUSIVE);
	share = get(items, item_id);
	if (share->wanted == 0 || smallest < share->smallest)
		share->smallest = smallest;
	share->wanted += units;
	number = share->asked + 1;
	(void) wake_worker();
	LWLockRelease(shares->lock);
	return number;
}

/* The fewest units that a buyer waits for; 0: none waits. */
int32
seckill_share_smallest(Oid items, int64 item_id)
{
	const Share *share;
	int32		smallest;

	LWLockAcquire(shares->lock, LW_SHARED);
	share = find(items, item_id);
	smallest = share != NULL && share->wanted > 0 ? share->smallest : 0;
	LWLockRelease(shares->lock);
	return smallest;
}

/*
 * Wait until an ask has ended; false if it has not by a time.  No deadlock
 * detector sees this wait, but it is bounded, and the share worker waits for
 * nobody for longer than its own timeout.
 */
bool
seckill_share_await(Oid items, int64 item_id, uint64 ask, ClockTime until)
{
	bool		ended = false;

	ConditionVariablePrepareToSleep(&shares->answered);
	for (;;)
	{
		ShareView	view;
		ClockTime	now = seckill_clock();

		seckill_share_read(items, item_id, &view);
		ended = view.answered >= ask;
		if (ended || now >= until)
			break;
		(void) ConditionVariableTimedSleep(&shares->answered,
										   (long) ((until - now + 999) / 1000),
										   SeckillWaitEvent(&share_event, "SeckillShare"));
	}
	ConditionVariableCancelSleep();
	return ended;
}


/*
 * The share worker
 */

/* Become the worker of a database; false if it has one, or needs none. */
bool
seckill_share_claim(Oid dbid)
{
	bool		claimed = false;
	int			i;

	if (shares == NULL)
		return false;
	LWLockAcquire(shares->lock, LW_EXCLUSIVE);
	i = seckill_find_database(&shares->workers[0].dbid, sizeof(Worker), WORKERS, dbid);
	if (i >= 0 && shares->workers[i].pid == 0)
	{
		shares->workers[i].pid = MyProcPid;
		shares->workers[i].latch = MyLatch;
		claimed = true;
	}
	LWLockRelease(shares->lock);
	return claimed;
}

/* The worker ends; the postmaster starts it again unless it has retired. */
void
seckill_share_release(void)
{
	LWLockAcquire(shares->lock, LW_EXCLUSIVE);
	for (int i = 0; i < WORKERS; i++)
		if (shares->workers[i].pid == MyProcPid)
			shares->workers[i].pid = 0;
	LWLockRelease(shares->lock);
}

/*
 * Is the element of a share of this database that somebody wants units of, or
 * that is new?
 */
static bool
is_wanted(const Share *share, Oid items)
{
	return share->dbid == MyDatabaseId && share->items == items &&
		(share->wanted > 0 || !share->view.greeted);
}

/* The idle worker wants to end; false if somebody wants units by now. */
bool
seckill_share_retire(Oid items)
{
	bool		idle = true;

	LWLockAcquire(shares->lock, LW_EXCLUSIVE);
	for (int i = 0; i < SHARES && idle; i++)
		idle = !is_wanted(&shares->shares[i], items);
	for (int i = 0; i < WORKERS && idle; i++)
		if (shares->workers[i].pid == MyProcPid)
			memset(&shares->workers[i], 0, sizeof(Worker));
	LWLockRelease(shares->lock);
	return idle;
}

/*
 * Begin the ask that has waited longest; false if there is none whose pause is
 * over, with *delay set to the microseconds until then, or to SECKILL_NEVER.
 */
bool
seckill_share_begin_ask(Oid items, ShareAsk *ask, int64 *delay)
{
	Share	   *first = NULL;
	ClockTime	now = seckill_clock();

	LWLockAcquire(shares->lock, LW_EXCLUSIVE);
	for (int i = 0; i < SHARES; i++)
	{
		Share	   *share = &shares->shares[i];

		if (is_wanted(share, items) &&
			(first == NULL || share->next_ask < first->next_ask))
			first = share;
	}
	*delay = first == NULL ? SECKILL_NEVER : Max(first->next_ask - now, 0);
	if (*delay == 0)
	{
		ask->item_id = first->item_id;
		ask->number = ++first->asked;
		ask->began = now;
		ask->wanted = first->wanted;
		ask->smallest = first->wanted > 0 ? first->smallest : 0;
		first->wanted = 0;
	}
	LWLockRelease(shares->lock);
	return *delay == 0;
}

/* How long to pause after an ask. */
static ClockTime
next_pause(const Share *share, const ShareAsk *ask)
{
	if (ask->failed)
		return FAILED_PAUSE;
	if (ask->reach >= 0)
		return 0;
	return Min(Max(2 * share->pause, FIRST_PAUSE), LONGEST_PAUSE);
}

/* The ask has ended: wake those who wait for it. */
void
seckill_share_end_ask(Oid items, const ShareAsk *ask)
{
	Share	   *share;

	LWLockAcquire(shares->lock, LW_EXCLUSIVE);
	share = get(items, ask->item_id);
	share->view.answered = ask->number;
	share->asked = Max(share->asked, ask->number);
	share->view.failed = ask->failed;
	share->view.greeted |= !ask->vague;
	if (ask->reach >= 0)
	{
		share->view.reach_since = ask->began;
		share->view.reach = ask->reach;
	}
	share->pause = next_pause(share, ask);
	share->next_ask = seckill_clock() + share->pause;
	LWLockRelease(shares->lock);
	SECKILL_CRASH("ask ended");
	ConditionVariableBroadcast(&shares->answered);
}
