/*
 * lease_model.c
 *		The protocol of holds, leases and settles, without PostgreSQL.
 *
 * Some simulated transactions buy, cancel, recall and so on, as coroutines.
 * Each call of step() ends an atomic step: the laws of docs/design.md are
 * checked, and a seeded random scheduler picks who goes on.  What a step may
 * do at once is what the real code does under one spinlock, one snapshot or
 * one lock of a row.  The functions are named after those that they stand for;
 * the arithmetic of the counters is the real one, src/counters.h.
 *
 * A run is a sequence of rounds.  A round has a seed of its own, so the one
 * that fails can be run alone.  It begins with new tables and an empty cache;
 * ends when every transaction has ended; and then what is left must be on
 * sale, to the last unit.
 *
 * With --mutate the protocol is broken in a known way, which the laws must
 * notice.
 */
#define _GNU_SOURCE				/* for ucontext.h on some systems */
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

typedef int32_t int32;
typedef int64_t int64;
typedef uint64_t uint64;

typedef struct ItemRow
{
	int32		stock;
	int32		leased;
	int64		lease_id;		/* 0: none */
	int64		version;
	bool		mine;			/* written by the transaction that reads it */
} ItemRow;

#include "../src/counters.h"

#define MAX_TXNS	16
#define ITEMS		2
#define LEVELS		3			/* of savepoints, the top one included */
#define CLAIMS		24
#define ORDERS		256
#define XIDS		4096
#define LEASE_UNITS 3
#define STACK_SIZE	(64 * 1024)
#define TRACE		400			/* steps that are remembered */
#define SHOWN		60			/* of them, printed */
#define NOBODY		(-1)

/* Ways to break the protocol; the names are for --mutate and its list. */
typedef enum Mutation
{
	SOUND,
	NO_FENCE,
	RELEASE_BEFORE_ANNOUNCE,
	RELEASE_BEFORE_COMMIT,
	CREDIT_BEFORE_COMMIT,
	EVICT_HELD,
	EVICT_PINNED,
	EVICT_REFILLING,
	SETTLE_LIVE_ORDERS,
	JUDGE_WITHOUT_GENERATION,
	JUDGE_WITHOUT_HOLDERS,
	FLAG_FROM_OWN_CHANGE,
	CLOSE_HELD,
	RECALL_WITHOUT_HOLD,
	SAVEPOINT_KEEPS_HOLD,
	ADJUST_DEAD_LEASE,
	NO_ANNOUNCE,
	WAIT_WITH_HOLD,
	LEASE_ID_AGAIN,
	MUTATIONS
} Mutation;

static const char *const mutations[MUTATIONS] = {
	"none: the protocol as it is",
	"an order is written without looking for the lease on the row",
	"at commit, holds are released before rows are announced",
	"holds are released before the commit is visible",
	"leased units are given to the cache before commit",
	"an entry with units or holders is evicted",
	"an entry that somebody has pinned is evicted",
	"an entry with a refiller is evicted",
	"a settle counts live orders only",
	"sold out is judged without the generation",
	"sold out is judged without holders",
	"a transaction's own uncommitted row sets the sold-out flag",
	"a recall closes a lease that has holders",
	"a recall does not hold the units that it puts on the row",
	"ROLLBACK TO SAVEPOINT gives nothing back",
	"units of a dead lease are counted in the new one",
	"a change of the row is not announced",
	"a buyer waits for the row with units of the lease on hold",
	"a new entry has the lease_id of one before it",
};

/* A row of orders.  live: pending or confirmed. */
typedef struct Order
{
	int			item;
	int32		units;
	int64		lease_id;
	bool		live;
} Order;

/* A lock, to the end of the (sub)transaction that has taken it. */
typedef struct Lock
{
	int			owner;
	int			level;
} Lock;

typedef struct Entry
{
	bool		live;
	int			item;
	bool		sold_out;
	bool		refilling;
	StockCounters c;
} Entry;

typedef struct Claim
{
	Entry	   *entry;
	int			level;
	int			xid;
	int64		lease_id;
	int32		hold;
	int32		credit;
	bool		refiller;
	bool		shown;			/* published to those who wait */
} Claim;

/* What a transaction has written and not committed; copied by a savepoint. */
typedef struct Work
{
	ItemRow		row[ITEMS];		/* those that are mine */
	bool		changed[ITEMS]; /* to be announced */
	Order		orders[8];		/* new ones */
	int			norders;
	struct
	{
		int			order;
		bool		live;
	}			moves[8];		/* of orders into another state */
	int			nmoves;
	int32		supplied[ITEMS];
	int32		freed[ITEMS];	/* units supplied or given back */
	int32		used[ITEMS];	/* units of orders */
	bool		emptied;
} Work;

typedef struct Txn
{
	int			id;
	jmp_buf		place;			/* where to go on */
	jmp_buf		base;			/* the start of a round, or after a crash */
	jmp_buf		error;			/* where an error goes */
	bool		restart;
	char	   *stack;

	int			left;			/* transactions to run in this round */
	bool		running;
	bool		block;			/* more than one statement */
	bool		visible;		/* committed, callbacks not yet done */
	bool		wrote;			/* has an xid */
	int			ops;
	int			level;
	int			xid[LEVELS];
	Work		work;
	Work		saved[LEVELS];
	Claim		claims[CLAIMS];
	int			nclaims;
	Entry	   *pin;
	bool		reads_table;	/* has its lock in share mode */

	/* the call that runs */
	bool		calling;
	int			item;
	int32		quantity;
	int32		least;			/* units in reach, at the worst moment */

	/* what it waits for; NULL and 0: nothing */
	const Lock *wait_lock;
	int			wait_xid;
	bool		wait_readers;	/* for those who read the table */
} Txn;

typedef struct Trace
{
	uint64		step;
	int			txn;
	int			item;
	const char *what;
	ItemRow		row;
	Entry		entry;
} Trace;

/* parameters */
static uint64 seed = 1;
static uint64 max_steps = 1000000;
static int	ntxns = 6;
static Mutation mutation = SOUND;

/* the tables, as committed */
static ItemRow table[ITEMS];
static int32 supplied[ITEMS];
static Order orders[ORDERS];
static int	norders;

/* locks */
static Lock row_locks[ITEMS];
static Lock lines[ITEMS];
static Lock roles[ITEMS];
static Lock order_locks[ORDERS];
static Lock table_lock;			/* exclusively */

/* shared memory */
static Entry entries[ITEMS];
static int	nentries;
static int64 last_lease_id;

/* transactions */
static Txn	txns[MAX_TXNS];
static struct
{
	int			txn;
	int			level;			/* of the claims that may show it; -1: ended */
}			xids[XIDS];
static int	nxids;

/* derived from the tables by look_at_tables() */
static int32 sold[ITEMS];		/* on the open lease */
static int32 unsold[ITEMS];		/* on the row and in its lease */

/* the run */
static uint64 state;			/* of the random numbers */
static uint64 round_seed;
static uint64 steps;
static uint64 counts[8];
enum {ROUNDS, SALES, REFUSALS, CRASHES, ERRORS, DEADLOCKS, SETTLES, STALE};
static bool draining;			/* the end of a round: no crash, no error */
static jmp_buf main_place;
static Trace trace[TRACE];


/*
 * Chance
 */

static uint64
next_random(void)
{
	uint64		z = (state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

static int
below(int n)
{
	return (int) (next_random() % (uint64) n);
}

static bool
one_in(int n)
{
	return below(n) == 0;
}


/*
 * Laws
 */

static void
print_trace(void)
{
	uint64		first = steps > SHOWN ? steps - SHOWN : 0;

	for (uint64 i = first; i < steps; i++)
	{
		const Trace *s = &trace[i % TRACE];

		if (s->step != i)
			continue;
		printf("%10llu  txn %d item %d  %-28s row %d+%d lease %lld  cache %d held %d lease %lld gen %llu%s%s\n",
			   (unsigned long long) i, s->txn, s->item, s->what,
			   s->row.stock, s->row.leased, (long long) s->row.lease_id,
			   s->entry.c.avail, s->entry.c.held,
			   (long long) s->entry.c.lease_id,
			   (unsigned long long) s->entry.c.generation,
			   s->entry.sold_out ? " SOLD OUT" : "",
			   s->entry.live ? "" : " (none)");
	}
}

static void __attribute__((noreturn))
broken(const char *law, int item)
{
	print_trace();
	printf("BROKEN: %s (item %d, step %llu). Replay: --seed %llu --txns %d --mutate %d --steps 1\n",
		   law, item, (unsigned long long) steps,
		   (unsigned long long) round_seed, ntxns, mutation);
	exit(1);
}

static Entry *
entry_of(int item)
{
	for (int i = 0; i < nentries; i++)
		if (entries[i].live && entries[i].item == item)
			return &entries[i];
	return NULL;
}

/* After each commit: conservation, and what the next checks go by. */
static void
look_at_tables(void)
{
	for (int i = 0; i < ITEMS; i++)
	{
		const ItemRow *row = &table[i];
		int32		live = 0;

		sold[i] = 0;
		for (int k = 0; k < norders; k++)
			if (orders[k].item == i)
			{
				live += orders[k].live ? orders[k].units : 0;
				if (row->lease_id != 0 && orders[k].lease_id == row->lease_id)
					sold[i] += orders[k].units;
			}
		unsold[i] = row->stock + row->leased - sold[i];
		if (row->stock < 0 || row->leased < 0)
			broken("stock or leased is negative", i);
		if (row->leased < sold[i])
			broken("more sold on the lease than leased", i);
		if (live > supplied[i])
			broken("oversold", i);
		if (unsold[i] + live != supplied[i])
			broken("conservation", i);
	}
}

/*
 * After each step: the counters of the entry are the sum of what transactions
 * have, what the row has leased and not sold is in the cache or in hands, and
 * a refill is under way if somebody has the role.
 */
static void
check_entry(const Entry *entry)
{
	const ItemRow *row = &table[entry->item];
	int32		held = 0;
	int32		units = entry->c.avail;
	bool		refilling = false;

	for (int i = 0; i < ntxns; i++)
	{
		const Txn  *t = &txns[i];

		if (t->visible && t->work.emptied)
			return;				/* about to drop the entry */
		for (int k = 0; k < t->nclaims; k++)
		{
			const Claim *claim = &t->claims[k];

			if (claim->entry != entry)
				continue;
			refilling |= claim->refiller;
			if (claim->lease_id != entry->c.lease_id)
				continue;
			held += claim->hold + claim->credit;
			units += t->visible ? claim->credit : claim->hold;
		}
	}
	if (entry->c.held != held)
		broken("held is not what transactions hold", entry->item);
	if (units != (row->lease_id == entry->c.lease_id ?
				  row->leased - sold[entry->item] : 0))
		broken("the cache is not what the row has leased", entry->item);
	if (entry->refilling != refilling)
		broken("a refill is said to be under way, or not, and is not so",
			   entry->item);
}

/*
 * How many units a call could hope for at this moment: all that is committed
 * and not sold, in whoever's hands.  What a commit brings counts once its
 * callbacks are done, as nobody has been told of it before.
 */
static int32
reach(const Txn *t, int item)
{
	int32		units = unsold[item] + t->work.freed[item] - t->work.used[item];

	for (int i = 0; i < ntxns; i++)
		if (txns[i].visible)
			units -= txns[i].work.freed[item];
	return units;
}

static void
note_reach(void)
{
	for (int i = 0; i < ntxns; i++)
	{
		Txn		   *t = &txns[i];

		if (t->calling && reach(t, t->item) < t->least)
			t->least = reach(t, t->item);
	}
}


/*
 * Steps
 */

static bool
is_ready(const Txn *t)
{
	if (t->left == 0 && !t->running)
		return false;
	if (t->wait_lock != NULL && t->wait_lock->owner != NOBODY)
		return false;
	if (t->wait_xid != 0 && xids[t->wait_xid].level >= 0)
		return false;
	if (t->wait_readers)
		for (int i = 0; i < ntxns; i++)
			if (i != t->id && txns[i].reads_table)
				return false;
	return true;
}

/* Somebody who can go on, or NULL. */
static Txn *
pick(void)
{
	int			first = below(ntxns);

	for (int i = 0; i < ntxns; i++)
	{
		Txn		   *t = &txns[(first + i) % ntxns];

		if (is_ready(t))
			return t;
	}
	return NULL;
}

static void __attribute__((noreturn))
go_to(Txn *t)
{
	_longjmp(t->place, 1);
}

/* Leave for the next; returns when t is gone back to. */
static void __attribute__((noinline))
leave(Txn *t, Txn *next)
{
	if (_setjmp(t->place) != 0)
		return;
	if (next == NULL)
		_longjmp(main_place, 1);
	go_to(next);
}

/* Let others run.  Returns when it is our turn again. */
static void
yield(Txn *t)
{
	Txn		   *next = pick();

	if (next != t)
		leave(t, next);
	if (t->restart)
	{
		t->restart = false;
		_longjmp(t->base, 1);
	}
}

static void
stop_waiting(Txn *t)
{
	t->wait_lock = NULL;
	t->wait_xid = 0;
	t->wait_readers = false;
}

/* Nothing is left of what the transaction was. */
static void
reset(Txn *t)
{
	t->running = t->visible = t->wrote = t->calling = t->reads_table = false;
	t->nclaims = 0;
	t->pin = NULL;
	memset(&t->work, 0, sizeof(Work));
	stop_waiting(t);
}

/* Memory and what is not committed are lost.  Who lives on starts again. */
static void
crash(void)
{
	counts[CRASHES]++;
	memset(entries, 0, sizeof(entries));
	for (int i = 0; i < ITEMS; i++)
		row_locks[i].owner = lines[i].owner = roles[i].owner = NOBODY;
	for (int i = 0; i < ORDERS; i++)
		order_locks[i].owner = NOBODY;
	table_lock.owner = NOBODY;
	for (int i = 0; i < ntxns; i++)
	{
		reset(&txns[i]);
		txns[i].restart = true;
	}
	nxids = 1;
}

static void
raise_error(Txn *t)
{
	counts[ERRORS]++;
	_longjmp(t->error, 1);
}

/* End an atomic step, where no interrupt is served. */
static void
step_on(Txn *t, const char *what)
{
	Trace	   *s = &trace[steps % TRACE];
	Entry	   *entry = entry_of(t->item);

	s->step = steps++;
	s->txn = t->id;
	s->item = t->item;
	s->what = what;
	s->row = table[t->item];
	if (entry != NULL)
		s->entry = *entry;
	else
		memset(&s->entry, 0, sizeof(Entry));
	for (int i = 0; i < nentries; i++)
		if (entries[i].live)
			check_entry(&entries[i]);
	if (!draining && one_in(3000))
		crash();
	yield(t);
}

/* The same where an error, a cancel or a terminate can end the transaction. */
static void
step(Txn *t, const char *what)
{
	step_on(t, what);
	if (!draining && one_in(500))
		raise_error(t);
}


/*
 * Waiting
 */

/* Whom t waits for; NOBODY if it is not one, or nobody any more. */
static int
awaited(const Txn *t)
{
	if (t->wait_lock != NULL)
		return t->wait_lock->owner;
	if (t->wait_xid != 0 && xids[t->wait_xid].level >= 0)
		return xids[t->wait_xid].txn;
	return NOBODY;
}

/* Single purchases must not deadlock; who closes another circle gives way. */
static void
detect_deadlock(Txn *t)
{
	bool		block = t->block;
	int			other = awaited(t);

	for (int i = 0; other != NOBODY && other != t->id && i < ntxns; i++)
	{
		block |= txns[other].block;
		other = awaited(&txns[other]);
	}
	if (other != t->id)
		return;
	if (!block)
		broken("single statements deadlock", t->item);
	counts[DEADLOCKS]++;
	stop_waiting(t);
	raise_error(t);
}

static bool
try_lock(Txn *t, Lock *lock)
{
	if (lock->owner == t->id)
		return true;
	if (lock->owner != NOBODY)
		return false;
	lock->owner = t->id;
	lock->level = t->level;
	return true;
}

/* Wait until nobody else has the lock. */
static void
await_lock(Txn *t, const Lock *lock, const char *what)
{
	while (lock->owner != NOBODY && lock->owner != t->id)
	{
		t->wait_lock = lock;
		detect_deadlock(t);
		step_on(t, what);
		stop_waiting(t);
	}
}

static void
take_lock(Txn *t, Lock *lock, const char *what)
{
	await_lock(t, lock, what);
	(void) try_lock(t, lock);
}

/* Lock the tables against TRUNCATE to the end of the transaction. */
static void
open_items(Txn *t)
{
	await_lock(t, &table_lock, "wait for the table");
	t->reads_table = true;
}


/*
 * The stock cache (src/stock.c)
 */

static void
next_generation(Entry *entry)
{
	entry->c.generation++;
	entry->sold_out = false;
}

static void
stock_start_lease(Entry *entry)
{
	counters_start_lease(&entry->c);
	next_generation(entry);
}

static void
stock_adjust(Entry *entry, int64 lease_id, int32 avail, int32 held)
{
	if (mutation == ADJUST_DEAD_LEASE)
		lease_id = entry->c.lease_id;
	if (counters_adjust(&entry->c, lease_id, avail, held))
		next_generation(entry);
}

static void
stock_renew(Entry *entry, int64 lease_id)
{
	if (entry->c.lease_id == lease_id)
		stock_start_lease(entry);
}

static bool
stock_close(Entry *entry)
{
	bool		closed = entry->c.held == 0 || mutation == CLOSE_HELD;

	if (closed)
		stock_start_lease(entry);
	return closed;
}

static StockVerdict
stock_judge(Entry *entry, uint64 generation, const ItemRow *row,
			int32 quantity, const StockOwn *own)
{
	StockVerdict verdict;
	ItemRow		seen = *row;

	if (mutation == JUDGE_WITHOUT_GENERATION)
		generation = entry->c.generation;
	if (mutation == FLAG_FROM_OWN_CHANGE)
		seen.mine = false;
	verdict = counters_judge(&entry->c, generation, &seen, quantity, own);
	if (mutation == JUDGE_WITHOUT_HOLDERS && verdict == STOCK_AWAIT)
		verdict = STOCK_OUT;
	if (verdict == STOCK_OUT && counters_all_gone(&entry->c, &seen))
		entry->sold_out = true;
	return verdict;
}

static bool
is_idle(const Entry *entry)
{
	return (counters_idle(&entry->c) || mutation == EVICT_HELD) &&
		(!entry->refilling || mutation == EVICT_REFILLING);
}

static void
evict(Entry *entry)
{
	for (int i = 0; i < ntxns; i++)
		if (txns[i].pin == entry && mutation != EVICT_PINNED)
			return;
	if (is_idle(entry))
		entry->live = false;
}

/* Find and pin the entry of an item, if it has one. */
static Entry *
stock_find(Txn *t, int item)
{
	t->pin = t->work.emptied ? NULL : entry_of(item);
	return t->pin;
}

/* The same, and make one if there is room. */
static Entry *
stock_enter(Txn *t, int item)
{
	if (stock_find(t, item) != NULL || t->work.emptied)
		return t->pin;
	for (int i = 0; i < nentries; i++)
	{
		Entry	   *entry = &entries[i];

		if (entry->live)
			evict(entry);
		if (entry->live)
			continue;
		entry->live = true;
		entry->item = item;
		entry->sold_out = entry->refilling = false;
		entry->c.avail = entry->c.held = 0;
		entry->c.lease_id = mutation == LEASE_ID_AGAIN ? 1000 :
			(last_lease_id += 1000);
		entry->c.generation++;
		t->pin = entry;
		break;
	}
	return t->pin;
}

static void
stock_changed(int item)
{
	Entry	   *entry = entry_of(item);

	if (entry != NULL && mutation != NO_ANNOUNCE)
		next_generation(entry);
}


/*
 * What a transaction has (src/xact.c)
 */

static Claim *
find_claim(Txn *t, Entry *entry, int level, int64 lease_id)
{
	for (int i = 0; i < t->nclaims; i++)
		if (t->claims[i].entry == entry && t->claims[i].level == level &&
			t->claims[i].lease_id == lease_id)
			return &t->claims[i];
	return NULL;
}

static Claim *
get_claim(Txn *t, Entry *entry, int64 lease_id)
{
	Claim	   *claim = find_claim(t, entry, t->level, lease_id);

	if (claim != NULL)
		return claim;
	t->wrote = true;
	claim = &t->claims[t->nclaims++];
	memset(claim, 0, sizeof(Claim));
	claim->entry = entry;
	claim->level = t->level;
	claim->xid = t->xid[t->level];
	claim->lease_id = lease_id;
	return claim;
}

static void
publish(Claim *claim)
{
	claim->shown = claim->hold > 0 || claim->credit > 0;
}

static void
drop_claim(Txn *t, Claim *claim)
{
	*claim = t->claims[--t->nclaims];
}

static bool
xact_has_room(const Txn *t)
{
	return t->nclaims <= CLAIMS - 3;
}

static int32
own_credit(const Txn *t, const Entry *entry, int64 lease_id)
{
	int32		credit = 0;

	for (int i = 0; i < t->nclaims; i++)
		if (t->claims[i].entry == entry && t->claims[i].lease_id == lease_id)
			credit += t->claims[i].credit;
	return credit;
}

static StockOwn
xact_own(const Txn *t, const Entry *entry)
{
	StockOwn	own = {.lease_id = entry->c.lease_id};

	own.credit = own_credit(t, entry, own.lease_id);
	own.held = own.credit;
	for (int i = 0; i < t->nclaims; i++)
		if (t->claims[i].entry == entry &&
			t->claims[i].lease_id == own.lease_id)
			own.held += t->claims[i].hold;
	return own;
}

/* Put from min to max units of the cache on hold; returns how many. */
static int32
take_between(Txn *t, Entry *entry, int32 min, int32 max, int64 *lease_id)
{
	int32		units;

	*lease_id = entry->c.lease_id;
	units = counters_take(&entry->c, min, max);
	if (units > 0)
	{
		get_claim(t, entry, *lease_id)->hold += units;
		step_on(t, "take");
		/* a level cannot end meanwhile: the claim is still there */
		publish(find_claim(t, entry, t->level, *lease_id));
		step(t, "publish");
	}
	return units;
}

/* Put quantity units on hold, from our own credit first. */
static bool
xact_take(Txn *t, Entry *entry, int32 quantity, int64 *lease_id)
{
	int32		drawn = own_credit(t, entry, entry->c.lease_id);
	Claim	   *claim;

	if (drawn == 0)
		return take_between(t, entry, quantity, quantity, lease_id) > 0;
	drawn = drawn < quantity ? drawn : quantity;
	*lease_id = entry->c.lease_id;
	if (drawn < quantity &&
		counters_take(&entry->c, quantity - drawn, quantity - drawn) == 0)
		return false;
	claim = get_claim(t, entry, *lease_id);
	claim->hold += quantity - drawn;
	claim->credit -= drawn;
	stock_adjust(entry, *lease_id, 0, -drawn);
	publish(claim);
	step(t, "take with credit");
	return true;
}

/* Give back what xact_take() took; what came from credit stays a hold. */
static void
xact_return(Txn *t, Entry *entry, int64 lease_id, int32 units)
{
	Claim	   *claim = find_claim(t, entry, t->level, lease_id);

	if (claim == NULL || claim->hold < units)
		raise_error(t);
	claim->hold -= units;
	stock_adjust(entry, lease_id, units, -units);
	publish(claim);
	if (claim->hold == 0 && claim->credit == 0 && !claim->refiller)
		drop_claim(t, claim);
}

static void
undo_claim(Txn *t, Claim *claim)
{
	stock_adjust(claim->entry, claim->lease_id, claim->hold,
				 -(claim->hold + claim->credit));
	if (claim->refiller)
		claim->entry->refilling = false;
	drop_claim(t, claim);
	step_on(t, "abort: give back");
}

static void
commit_claim(Txn *t, Claim *claim)
{
	int32		credit = mutation == CREDIT_BEFORE_COMMIT ? 0 : claim->credit;

	stock_adjust(claim->entry, claim->lease_id, credit,
				 -(claim->hold + claim->credit));
	if (claim->refiller)
		claim->entry->refilling = false;
	drop_claim(t, claim);
	step_on(t, "commit: release claim");
}


/*
 * The tables, as a transaction sees and changes them (src/ledger.c)
 */

static ItemRow
read_row(const Txn *t, int item)
{
	return t->work.row[item].mine ? t->work.row[item] : table[item];
}

static void
write_row(Txn *t, int item, ItemRow *row, bool announce)
{
	row->version++;
	row->mine = true;
	if (row->stock < 0 || row->leased < 0)
		broken("stock or leased would be negative", item);
	t->work.row[item] = *row;
	t->work.changed[item] |= announce;
	step(t, "write row");
}

static ItemRow
lock_row(Txn *t, int item)
{
	ItemRow		row;

	open_items(t);
	t->wrote = true;
	take_lock(t, &row_locks[item], "wait for the row");
	row = read_row(t, item);
	step(t, "lock row");
	return row;
}

static ItemRow
peek(Txn *t, int item)
{
	ItemRow		row;

	open_items(t);
	row = read_row(t, item);
	step(t, "read row");
	return row;
}

static void
write_order(Txn *t, int item, int32 units, int64 lease_id)
{
	Order		order = {item, units, lease_id, true};

	t->work.orders[t->work.norders++] = order;
	t->work.used[item] += units;
	counts[SALES]++;
}

static int32
count_order(const Order *order, int item, int64 lease_id)
{
	if (order->item != item || order->lease_id != lease_id ||
		(mutation == SETTLE_LIVE_ORDERS && !order->live))
		return 0;
	return order->units;
}

static int32
sold_on_lease(const Txn *t, int item, int64 lease_id)
{
	int32		units = 0;

	for (int k = 0; k < norders; k++)
		units += count_order(&orders[k], item, lease_id);
	for (int k = 0; k < t->work.norders; k++)
		units += count_order(&t->work.orders[k], item, lease_id);
	return units;
}


/*
 * Units between row and cache (src/lease.c)
 */

/* Make row and cache agree; the row is locked. */
static void
lease_settle(Txn *t, int item, ItemRow *row)
{
	int32		left;

	if (t->pin == NULL)
		stock_find(t, item);
	if (t->pin != NULL && counters_stale(&t->pin->c, row))
	{
		counts[STALE]++;
		stock_renew(t->pin, t->pin->c.lease_id);
		step(t, "settle: renew");
	}
	if (row->leased == 0 ||
		(t->pin != NULL && row->lease_id == t->pin->c.lease_id))
		return;
	left = row->leased - sold_on_lease(t, item, row->lease_id);
	if (left < 0)
		broken("a settle finds more sold than leased", item);
	row->stock += left;
	row->leased = 0;
	row->lease_id = 0;
	counts[SETTLES]++;
	write_row(t, item, row, true);
}

/* Move units of the locked row to the cache; it gets them at commit. */
static void
lease_units(Txn *t, int item, ItemRow *row, int32 units)
{
	Entry	   *entry = t->pin;
	int64		lease_id = entry->c.lease_id;
	Claim	   *claim;

	if (row->leased > 0 && row->lease_id != lease_id)
		broken("a refill meets another lease", item);
	row->stock -= units;
	row->leased += units;
	row->lease_id = lease_id;
	write_row(t, item, row, false);
	claim = get_claim(t, entry, lease_id);
	if (mutation == CREDIT_BEFORE_COMMIT)
		stock_adjust(entry, lease_id, units, 0);
	else
	{
		claim->credit += units;
		stock_adjust(entry, lease_id, 0, units);
	}
	publish(claim);
	step(t, "credit");
}

static bool
refill(Txn *t, int64 *lease_id)
{
	ItemRow		row = lock_row(t, t->item);
	int32		missing;

	lease_settle(t, t->item, &row);
	missing = t->quantity - xact_own(t, t->pin).credit - t->pin->c.avail;
	step(t, "what is missing");
	if (missing > row.stock)
		return false;
	if (missing > 0)
	{
		int32		units = missing > LEASE_UNITS ? missing : LEASE_UNITS;

		lease_units(t, t->item, &row, units < row.stock ? units : row.stock);
	}
	return xact_take(t, t->pin, t->quantity, lease_id);
}

/* Become the refiller.  Others look at the lock for a moment only. */
static bool
start_refill(Txn *t, bool may_wait)
{
	if (may_wait)
		take_lock(t, &roles[t->item], "wait for the role");
	else if (one_in(8) || !try_lock(t, &roles[t->item]))
		return false;
	t->pin->refilling = true;
	get_claim(t, t->pin, t->pin->c.lease_id)->refiller = true;
	step(t, "start refill");
	return true;
}

static void
end_refill(Txn *t)
{
	for (int i = 0; i < t->nclaims; i++)
	{
		Claim	   *claim = &t->claims[i];

		if (claim->entry != t->pin || claim->level != t->level ||
			!claim->refiller)
			continue;
		claim->refiller = false;
		t->pin->refilling = false;
		if (claim->hold == 0 && claim->credit == 0)
			drop_claim(t, claim);
		break;
	}
	step(t, "end refill");
	if (roles[t->item].owner == t->id && roles[t->item].level == t->level)
		roles[t->item].owner = NOBODY;
}

/* Has it the row?  If nobody has, and it has an xid, it has it now. */
static bool
owns_row(Txn *t, int item)
{
	if (row_locks[item].owner == t->id)
		return true;
	if (!t->wrote)
		return false;
	open_items(t);
	return try_lock(t, &row_locks[item]);
}

static void
line_up(Txn *t, int item)
{
	if (owns_row(t, item))
		return;
	take_lock(t, &lines[item], "wait in line");
	step(t, "line up");
}

static bool
refill_in_role(Txn *t, int64 *lease_id)
{
	bool		done = t->pin->c.avail < t->quantity && refill(t, lease_id);

	if (!done)
		end_refill(t);
	return done;
}

static bool
refill_in_turn(Txn *t, int64 *lease_id)
{
	if (row_locks[t->item].owner == t->id)
		return refill(t, lease_id);
	if (start_refill(t, false))
		return refill_in_role(t, lease_id);
	if (owns_row(t, t->item))
		return refill(t, lease_id);
	if (t->pin->refilling)
	{
		await_lock(t, &roles[t->item], "wait for the refiller");
		return false;
	}
	(void) start_refill(t, true);
	return refill_in_role(t, lease_id);
}

/* Wait for a transaction that holds units; it may not show yet. */
static void
await_holder(Txn *t)
{
	for (int i = 0; i < ntxns; i++)
		for (int k = 0; i != t->id && k < txns[i].nclaims; k++)
		{
			Claim	   *claim = &txns[i].claims[k];

			if (claim->entry != t->pin || !claim->shown)
				continue;
			t->wait_xid = claim->xid;
			detect_deadlock(t);
			step(t, "wait for a holder");
			stop_waiting(t);
			return;
		}
	step(t, "look for a holder");
}

static StockVerdict
lease_judge(Txn *t, const ItemRow *row, uint64 generation)
{
	StockVerdict verdict;
	StockOwn	own;

	if (t->pin == NULL)
		return row->leased > 0 ? STOCK_ON_ROW : STOCK_OUT;
	own = xact_own(t, t->pin);
	step(t, "what is our own");
	verdict = stock_judge(t->pin, generation, row, t->quantity, &own);
	step(t, "judge");
	return verdict;
}

static uint64
read_generation(Txn *t)
{
	uint64		generation = t->pin != NULL ? t->pin->c.generation : 0;

	step(t, "generation");
	return generation;
}

/* Put units on hold by whatever it takes; false: sold out. */
static bool
lease_obtain(Txn *t, int64 *lease_id)
{
	for (;;)
	{
		uint64		generation = read_generation(t);
		ItemRow		row;

		if (xact_take(t, t->pin, t->quantity, lease_id))
			return true;
		row = peek(t, t->item);
		switch (lease_judge(t, &row, generation))
		{
			case STOCK_AGAIN:
				break;
			case STOCK_AWAIT:
				await_holder(t);
				break;
			case STOCK_OUT:
				return false;
			case STOCK_ON_ROW:
				if (refill_in_turn(t, lease_id))
					return true;
				break;
		}
	}
}

/* Lease more, if that costs nobody a wait. */
static void
top_up(Txn *t)
{
	ItemRow		row;
	bool		leased = false;

	if (t->block || !start_refill(t, false))
		return;
	open_items(t);
	if (try_lock(t, &row_locks[t->item]))
	{
		row = read_row(t, t->item);
		step(t, "lock row");
		leased = row.stock > 0 && row.lease_id == t->pin->c.lease_id;
		if (leased)
			lease_units(t, t->item, &row,
						row.stock < LEASE_UNITS ? row.stock : LEASE_UNITS);
	}
	if (!leased)
		end_refill(t);
}


/*
 * Purchases (src/modes.c, src/batch.c)
 */

typedef enum Outcome
{
	SOLD, SOLD_OUT, CONFLICT
} Outcome;

/* Take units from the locked row, and the rest from its lease. */
static Outcome
sale_decide(Txn *t, ItemRow *row)
{
	int32		part = 0;
	int64		lease_id;

	if (row->stock < t->quantity)
		lease_settle(t, t->item, row);
	while (row->stock < t->quantity && part == 0)
	{
		uint64		generation;

		if (t->pin != NULL && row->leased > 0 && xact_has_room(t) &&
			xact_take(t, t->pin, t->quantity - row->stock, &lease_id))
		{
			part = t->quantity - row->stock;
			break;
		}
		generation = read_generation(t);
		switch (lease_judge(t, row, generation))
		{
			case STOCK_OUT:
				return SOLD_OUT;
			case STOCK_AWAIT:
				await_holder(t);
				break;
			case STOCK_AGAIN:
			case STOCK_ON_ROW:
				break;
		}
	}
	row->stock -= t->quantity - part;
	row->leased -= part;
	write_row(t, t->item, row, false);
	return SOLD;
}

static Outcome
buy_locked(Txn *t, int64 version)
{
	ItemRow		row = lock_row(t, t->item);

	if (version >= 0 && row.version != version)
		return CONFLICT;
	if (sale_decide(t, &row) == SOLD_OUT)
		return SOLD_OUT;
	write_order(t, t->item, t->quantity, 0);
	return SOLD;
}

static Outcome
buy_pessimistic(Txn *t)
{
	line_up(t, t->item);
	return buy_locked(t, -1);
}

static Outcome
buy_optimistic(Txn *t)
{
	for (;;)
	{
		uint64		generation = read_generation(t);
		ItemRow		row = peek(t, t->item);

		if (row.stock < t->quantity)
			switch (lease_judge(t, &row, generation))
			{
				case STOCK_OUT:
					return SOLD_OUT;
				case STOCK_AWAIT:
					await_holder(t);
					continue;
				case STOCK_AGAIN:
				case STOCK_ON_ROW:
					break;
			}
		return buy_locked(t, row.version);
	}
}

/* WAIT_WITH_HOLD: what a holder must not do. */
static Outcome
buy_holding(Txn *t)
{
	int64		lease_id;
	bool		took = t->pin != NULL && !t->block &&
		xact_take(t, t->pin, 1, &lease_id);

	(void) lock_row(t, t->item);
	if (took)
		xact_return(t, t->pin, lease_id, 1);
	return buy_locked(t, -1);
}

/* The fence: the row must carry the lease of the units that are on hold. */
static bool
order_fenced(Txn *t, int64 lease_id)
{
	bool		passed;

	open_items(t);
	passed = mutation == NO_FENCE ||
		(t->pin->c.lease_id == lease_id &&
		 read_row(t, t->item).lease_id == lease_id);
	step(t, passed ? "fence" : "fence: stale");
	if (passed)
		write_order(t, t->item, t->quantity, lease_id);
	return passed;
}

static Outcome
buy_cache(Txn *t)
{
	for (;;)
	{
		int64		lease_id;

		if (!xact_take(t, t->pin, t->quantity, &lease_id))
		{
			if (!lease_obtain(t, &lease_id))
				return SOLD_OUT;
		}
		else if (t->pin->c.avail == 0 && !t->pin->refilling && one_in(2))
			top_up(t);
		if (order_fenced(t, lease_id))
			return SOLD;
		counts[STALE]++;
		xact_return(t, t->pin, lease_id, t->quantity);
		step(t, "return");
		if (peek(t, t->item).lease_id != lease_id)
			stock_renew(t->pin, lease_id);
		step(t, "renew");
	}
}

/* Read the row, make an entry or set right what it says. */
static void
check_row(Txn *t)
{
	uint64		generation = read_generation(t);
	ItemRow		row = peek(t, t->item);
	Entry	   *entry = t->pin;

	if (entry == NULL)
		stock_enter(t, t->item);
	else if (entry->c.generation == generation && !row.mine &&
			 (row.stock > 0 || counters_lost(&entry->c, &row)))
		entry->sold_out = false;
	step(t, "check row");
}

/* Rules and flag (src/buy.c); false: the flag says sold out. */
static bool
check_rules(Txn *t)
{
	bool		sold_out;

	stock_find(t, t->item);
	step(t, "find entry");
	if (t->pin == NULL || t->work.changed[t->item])
	{
		check_row(t);
		return true;
	}
	if (one_in(8))
		check_row(t);
	sold_out = t->pin->sold_out;
	step(t, "glance");
	return !sold_out;
}

static void
begin_call(Txn *t, int item, int32 quantity)
{
	t->item = item;
	t->quantity = quantity;
	t->least = reach(t, item);
	t->calling = true;
}

/* Law: who is told "sold out" could not have had the units at some moment. */
static void
end_call(Txn *t, bool sold_out)
{
	if (sold_out && t->least >= t->quantity)
		broken("sold out was said, and units could be had all the time",
			   t->item);
	counts[REFUSALS] += sold_out;
	t->calling = false;
	t->pin = NULL;
}

static Outcome
buy(Txn *t, int item, int32 quantity)
{
	Outcome		outcome = SOLD_OUT;

	begin_call(t, item, quantity);
	if (check_rules(t))
		switch (below(4))
		{
			case 0:
				outcome = buy_pessimistic(t);
				break;
			case 1:
				outcome = mutation == WAIT_WITH_HOLD ? buy_holding(t) :
					buy_optimistic(t);
				break;
			default:
				outcome = t->pin != NULL && xact_has_room(t) ?
					buy_cache(t) : buy_pessimistic(t);
				break;
		}
	end_call(t, outcome == SOLD_OUT);
	step(t, outcome == SOLD ? "sold" :
		 outcome == SOLD_OUT ? "sold out" : "conflict");
	return outcome;
}


/*
 * What else happens to items and orders
 */

static void
prewarm(Txn *t, int item)
{
	ItemRow		row = lock_row(t, item);
	int32		units = 1 + below(5);

	stock_enter(t, item);
	lease_settle(t, item, &row);
	if (t->pin != NULL && row.stock > 0)
		lease_units(t, item, &row, units < row.stock ? units : row.stock);
	t->pin = NULL;
}

/* Units that go to the row while others hold some stay on hold till we end. */
static void
recall(Txn *t, int item)
{
	ItemRow		row = lock_row(t, item);
	int64		lease_id;
	int32		units;

	stock_enter(t, item);
	lease_settle(t, item, &row);
	if (row.leased > 0 && stock_close(t->pin))
	{
		step(t, "close");
		lease_settle(t, item, &row);
	}
	else if (row.leased > 0)
	{
		units = take_between(t, t->pin, 1, INT32_MAX, &lease_id);
		row.stock += units;
		row.leased -= units;
		if (units > 0 && mutation == RECALL_WITHOUT_HOLD)
		{
			find_claim(t, t->pin, t->level, lease_id)->hold -= units;
			stock_adjust(t->pin, lease_id, 0, -units);
		}
		if (units > 0)
			write_row(t, item, &row, true);
	}
	t->pin = NULL;
}

/* UPDATE seckill.items SET stock = stock + n */
static void
restock(Txn *t, int item)
{
	ItemRow		row = lock_row(t, item);
	int32		units = 1 + below(3);

	row.stock += units;
	t->work.supplied[item] += units;
	t->work.freed[item] += units;
	write_row(t, item, &row, true);
}

/* TRUNCATE both tables, and new items. */
static void
truncate_tables(Txn *t)
{
	if (t->level > 0 || t->block)
		return;
	do
	{
		t->wait_lock = &table_lock;
		t->wait_readers = true;
		step_on(t, "wait for the table");
	} while (!is_ready(t));
	stop_waiting(t);
	(void) try_lock(t, &table_lock);
	t->work.emptied = true;
	for (int i = 0; i < ITEMS; i++)
	{
		ItemRow		row = {.stock = below(6), .mine = true};

		t->work.row[i] = row;
		t->work.supplied[i] = row.stock;
		t->work.freed[i] = row.stock;
		t->work.changed[i] = true;
	}
	step(t, "truncate");
}

static bool
is_live(const Txn *t, int k)
{
	for (int i = t->work.nmoves - 1; i >= 0; i--)
		if (t->work.moves[i].order == k)
			return t->work.moves[i].live;
	return orders[k].live;
}

static void
move_order(Txn *t, int k, bool live)
{
	t->work.moves[t->work.nmoves].order = k;
	t->work.moves[t->work.nmoves].live = live;
	t->work.nmoves++;
	step(t, live ? "confirm late" : "end order");
}

/* Cancelled or, passing over what is locked, expired: units go to the row. */
static void
end_order(Txn *t, int k, bool expire)
{
	int			item = orders[k].item;
	ItemRow		row;

	open_items(t);
	t->item = item;
	if (!expire)
		take_lock(t, &order_locks[k], "wait for the order");
	else if (!try_lock(t, &order_locks[k]))
		return;
	t->wrote = true;
	if (!is_live(t, k))
		return;
	move_order(t, k, false);
	if (!expire)
		line_up(t, item);
	row = lock_row(t, item);
	row.stock += orders[k].units;
	t->work.freed[item] += orders[k].units;
	write_row(t, item, &row, true);
}

/* An order that has expired is paid: its units are taken once more. */
static void
pay_late(Txn *t, int k)
{
	ItemRow		row;
	Outcome		outcome;

	open_items(t);
	t->item = orders[k].item;
	take_lock(t, &order_locks[k], "wait for the order");
	t->wrote = true;
	if (is_live(t, k))
		return;
	begin_call(t, orders[k].item, orders[k].units);
	stock_find(t, t->item);
	line_up(t, t->item);
	row = lock_row(t, t->item);
	outcome = sale_decide(t, &row);
	end_call(t, outcome == SOLD_OUT);
	if (outcome != SOLD)
		return;
	t->work.used[t->item] += t->quantity;
	move_order(t, k, true);
}


/*
 * Transactions
 */

static void
begin_level(Txn *t, int level)
{
	if (nxids == XIDS)
		broken("the model has too few xids for a round", t->item);
	t->level = level;
	t->xid[level] = nxids;
	xids[nxids].txn = t->id;
	xids[nxids].level = level;
	nxids++;
}

/* Do something to all locks of a kind that a level and those inside it have. */
static void
for_locks(Txn *t, Lock *locks, int n, int level, bool release)
{
	for (int i = 0; i < n; i++)
		if (locks[i].owner == t->id && locks[i].level >= level)
		{
			if (release)
				locks[i].owner = NOBODY;
			else
				locks[i].level = level - 1;
		}
}

/* Row locks end as soon as others see that the transaction has ended. */
static void
for_row_locks(Txn *t, int level, bool release)
{
	for_locks(t, row_locks, ITEMS, level, release);
	for_locks(t, order_locks, norders, level, release);
}

/* Heavyweight locks, those on xids among them, end after the callbacks. */
static void
for_heavy_locks(Txn *t, int level, bool release)
{
	for_locks(t, lines, ITEMS, level, release);
	for_locks(t, roles, ITEMS, level, release);
	for_locks(t, &table_lock, 1, level, release);
	for (int i = 1; i < nxids; i++)
		if (xids[i].txn == t->id && xids[i].level >= level)
			xids[i].level = release ? -1 : level - 1;
}

static void
end_transaction(Txn *t)
{
	for_heavy_locks(t, 0, true);
	reset(t);
}

static void
rollback(Txn *t)
{
	for_row_locks(t, 0, true);
	memset(&t->work, 0, sizeof(Work));
	step_on(t, "abort");
	while (t->nclaims > 0)
		undo_claim(t, &t->claims[t->nclaims - 1]);
	end_transaction(t);
}

static void
savepoint(Txn *t)
{
	t->saved[t->level] = t->work;
	begin_level(t, t->level + 1);
	step(t, "savepoint");
}

static void
rollback_level(Txn *t)
{
	int			level = t->level;

	for_row_locks(t, level, true);
	t->work = t->saved[level - 1];
	step_on(t, "rollback to savepoint");
	for (int i = t->nclaims - 1; i >= 0; i--)
		if (t->claims[i].level >= level)
		{
			if (mutation == SAVEPOINT_KEEPS_HOLD)
				drop_claim(t, &t->claims[i]);
			else
				undo_claim(t, &t->claims[i]);
		}
	for_heavy_locks(t, level, true);
	t->pin = NULL;
	t->level--;
}

static void
lift_claim(Txn *t, Claim *claim)
{
	Claim	   *outer = find_claim(t, claim->entry, claim->level - 1,
								   claim->lease_id);

	if (outer == NULL)
	{
		claim->level--;
		return;
	}
	outer->hold += claim->hold;
	outer->credit += claim->credit;
	outer->refiller |= claim->refiller;
	publish(outer);
	drop_claim(t, claim);
}

static void
release_level(Txn *t)
{
	for (int i = t->nclaims - 1; i >= 0; i--)
		if (i < t->nclaims && t->claims[i].level == t->level)
			lift_claim(t, &t->claims[i]);
	for_row_locks(t, t->level, false);
	for_heavy_locks(t, t->level, false);
	t->level--;
	step(t, "release savepoint");
}

/* What the transaction has written is the table's now, all at once. */
static void
apply(Txn *t)
{
	const Work *work = &t->work;

	if (work->emptied)
		norders = 0;
	for (int i = 0; i < ITEMS; i++)
	{
		supplied[i] = (work->emptied ? 0 : supplied[i]) + work->supplied[i];
		if (work->row[i].mine)
			table[i] = work->row[i];
		table[i].mine = false;
	}
	for (int i = 0; i < work->norders; i++)
		orders[norders++] = work->orders[i];
	for (int i = 0; i < work->nmoves; i++)
		orders[work->moves[i].order].live = work->moves[i].live;
	t->visible = true;
	for_row_locks(t, 0, true);
	look_at_tables();
	note_reach();
}

static void
announce(Txn *t)
{
	for (int i = 0; i < ITEMS; i++)
		if (t->work.changed[i])
		{
			stock_changed(i);
			step_on(t, "commit: announce");
		}
	for (int i = 0; t->work.emptied && i < nentries; i++)
		if (entries[i].live)
		{
			stock_start_lease(&entries[i]);
			evict(&entries[i]);
		}
	t->work.emptied = false;
}

static void
release_claims(Txn *t)
{
	while (t->nclaims > 0)
		commit_claim(t, &t->claims[t->nclaims - 1]);
}

/* The order of steps at COMMIT: visible, announced, given up, unlocked. */
static void
commit(Txn *t)
{
	if (mutation == RELEASE_BEFORE_COMMIT)
		release_claims(t);
	apply(t);
	step_on(t, "commit: visible");
	if (mutation == RELEASE_BEFORE_ANNOUNCE)
		release_claims(t);
	announce(t);
	release_claims(t);
	end_transaction(t);
}

static void
operation(Txn *t)
{
	int			item = below(4) == 0;
	int			what = below(t->block ? 32 : 24);

	t->item = item;
	if (what >= 24)
	{
		if (t->level == 0 || (what < 28 && t->level < LEVELS - 1))
			savepoint(t);
		else if (what % 2 == 0)
			release_level(t);
		else
			rollback_level(t);
	}
	else if (what >= 22)
		recall(t, item);
	else if (what >= 21)
		prewarm(t, item);
	else if (what >= 20)
		restock(t, item);
	else if (what >= 19)
	{
		if (one_in(2))
			truncate_tables(t);
	}
	else if (what >= 16 && norders > 0)
	{
		/* orders of a table that is being truncated are out of reach */
		open_items(t);
		if (norders == 0)
			return;
		if (what == 16)
			pay_late(t, below(norders));
		else
			end_order(t, below(norders), what == 17);
	}
	else if (norders < ORDERS - MAX_TXNS * 8)
		(void) buy(t, item, 1 + one_in(5));
}

/* At the end of a round: buy what is left, one by one. */
static void
drain(Txn *t)
{
	for (int i = 0; i < ITEMS; i++)
		while (buy(t, i, 1) != SOLD_OUT)
		{
			commit(t);
			t->running = true;
			begin_level(t, 0);
		}
}

static void
transaction(Txn *t)
{
	reset(t);
	t->running = true;
	t->block = one_in(3);
	t->ops = t->block ? 2 + below(4) : 1;
	begin_level(t, 0);
	step_on(t, "begin");
	if (_setjmp(t->error) != 0)
	{
		t->calling = false;
		t->pin = NULL;
		if (t->level == 0 || one_in(2))
		{
			rollback(t);
			return;
		}
		rollback_level(t);
	}
	if (draining)
		drain(t);
	else
		while (t->ops-- > 0)
			operation(t);
	if (!draining && one_in(5))
		rollback(t);
	else
		commit(t);
}

static void
run_coroutine(Txn *t)
{
	(void) _setjmp(t->base);
	for (;;)
	{
		while (t->left > 0)
		{
			t->left--;
			transaction(t);
		}
		yield(t);
	}
}


/*
 * Rounds
 */

static Txn *starting;

static void
coroutine(void)
{
	Txn		   *t = starting;

	if (_setjmp(t->place) == 0)
		_longjmp(main_place, 1);
	run_coroutine(t);
}

static void
start_coroutine(Txn *t)
{
	static ucontext_t context;

	t->id = (int) (t - txns);
	t->stack = malloc(STACK_SIZE);
	if (t->stack == NULL || getcontext(&context) != 0)
		abort();
	context.uc_stack.ss_sp = t->stack;
	context.uc_stack.ss_size = STACK_SIZE;
	context.uc_link = NULL;
	makecontext(&context, coroutine, 0);
	starting = t;
	if (_setjmp(main_place) == 0)
		(void) setcontext(&context);
}

/* Run until nobody can go on. */
static void
run_all(void)
{
	Txn		   *t;

	(void) _setjmp(main_place);
	t = pick();
	if (t != NULL)
		go_to(t);
	for (int i = 0; i < ntxns; i++)
		if (txns[i].running)
			broken("everybody waits", txns[i].item);
}

static void
begin_round(void)
{
	state = round_seed;
	draining = false;
	memset(entries, 0, sizeof(entries));
	memset(table, 0, sizeof(table));
	nentries = 1 + below(ITEMS);
	norders = 0;
	nxids = 1;
	for (int i = 0; i < ITEMS; i++)
	{
		row_locks[i].owner = lines[i].owner = roles[i].owner = NOBODY;
		table[i].stock = supplied[i] = below(9);
	}
	for (int i = 0; i < ORDERS; i++)
		order_locks[i].owner = NOBODY;
	table_lock.owner = NOBODY;
	look_at_tables();
	for (int i = 0; i < ntxns; i++)
		txns[i].left = 1 + below(4);
}

/* Everybody has ended: all that is left must be on sale. */
static void
end_round(void)
{
	draining = true;
	txns[0].left = 1;
	run_all();
	for (int i = 0; i < ITEMS; i++)
		if (unsold[i] != 0)
			broken("units are left and cannot be bought", i);
	for (int i = 0; i < nentries; i++)
		if (entries[i].live && (!counters_idle(&entries[i].c) ||
								entries[i].refilling))
			broken("held, refiller or units are left", entries[i].item);
	counts[ROUNDS]++;
}

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static void
report(const char *what, double start)
{
	printf("%s: %llu steps, %llu rounds, %llu sales, %llu refusals, %llu crashes, %llu errors, %llu deadlocks, %llu settles, %llu stale; %.1f s\n",
		   what, (unsigned long long) steps,
		   (unsigned long long) counts[ROUNDS],
		   (unsigned long long) counts[SALES],
		   (unsigned long long) counts[REFUSALS],
		   (unsigned long long) counts[CRASHES],
		   (unsigned long long) counts[ERRORS],
		   (unsigned long long) counts[DEADLOCKS],
		   (unsigned long long) counts[SETTLES],
		   (unsigned long long) counts[STALE], seconds() - start);
	fflush(stdout);
}

static void
run(void)
{
	static double start;
	static uint64 next_report;

	start = seconds();
	next_report = 10000000;
	for (int i = 0; i < ntxns; i++)
		start_coroutine(&txns[i]);
	for (round_seed = seed; steps < max_steps; round_seed++)
	{
		begin_round();
		run_all();
		end_round();
		if (steps >= next_report)
		{
			report("running", start);
			next_report += 10000000;
		}
	}
	report("all laws hold", start);
}

static void __attribute__((noreturn))
usage(void)
{
	fprintf(stderr, "usage: lease_model [--seed N] [--steps N] [--txns 1..%d] [--mutate 0..%d] [--list]\n",
			MAX_TXNS, MUTATIONS - 1);
	exit(2);
}

static uint64
number(const char *text, uint64 min, uint64 max)
{
	char	   *end;
	uint64		value = strtoull(text, &end, 10);

	if (*text == '\0' || *end != '\0' || value < min || value > max)
		usage();
	return value;
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i += 2)
	{
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--list") == 0)
		{
			for (int m = 0; m < MUTATIONS; m++)
				printf("%d %s\n", m, mutations[m]);
			return 0;
		}
		else if (strcmp(argv[i], "--seed") == 0)
			seed = number(value, 0, UINT64_MAX);
		else if (strcmp(argv[i], "--steps") == 0)
			max_steps = number(value, 1, UINT64_MAX);
		else if (strcmp(argv[i], "--txns") == 0)
			ntxns = (int) number(value, 1, MAX_TXNS);
		else if (strcmp(argv[i], "--mutate") == 0)
			mutation = (Mutation) number(value, 0, MUTATIONS - 1);
		else
			usage();
	}
	run();
	return 0;
}
