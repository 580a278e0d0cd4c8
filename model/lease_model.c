/*
 * lease_model.c
 *		The protocol of holds, leases and settles, without PostgreSQL.
 *
 * Some simulated transactions buy, cancel, recall and so on, as coroutines.
 * Each call of step() ends an atomic step: the laws of docs/design.md are
 * checked, and a seeded random scheduler picks who goes on.  What a step may
 * do at once is what the real code does under one spinlock, one snapshot or
 * one lock of a row.  The protocol itself is in protocol.c: its functions are
 * named after those that they stand for, and the arithmetic of the counters is
 * the real one, src/counters.h.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#include "model.h"

#define STACK_SIZE	(64 * 1024)
#define TRACE		400			/* steps that are remembered */
#define SHOWN		60			/* of them, printed */

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
int			ntxns = 6;
Mutation	mutation = SOUND;

/* the tables, as committed */
ItemRow		table[ITEMS];
int32		supplied[ITEMS];
Order		orders[ORDERS];
int			norders;

/* locks */
Lock		row_locks[ITEMS];
Lock		lines[ITEMS];
Lock		roles[ITEMS];
Lock		order_locks[ORDERS];
Lock		table_lock;		/* exclusively */

/* shared memory */
Entry		entries[ITEMS];
int			nentries;

/* transactions */
Txn			txns[MAX_TXNS];
Xid			xids[XIDS];
int			nxids;

/* derived from the tables by look_at_tables() */
static int32 sold[ITEMS];		/* on the open lease */
static int32 unsold[ITEMS];		/* on the row and in its lease */

/* the run */
static uint64 state;		/* of the random numbers */
static uint64 round_seed;
static uint64 steps;
uint64		counts[COUNTS];
bool		draining;		/* the end of a round: no crash, no error */
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

int
below(int n)
{
	return (int) (next_random() % (uint64) n);
}

bool
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

void __attribute__((noreturn))
broken(const char *law, int item)
{
	print_trace();
	printf("BROKEN: %s (item %d, step %llu). Replay: --seed %llu --txns %d --mutate %d --steps 1\n",
		   law, item, (unsigned long long) steps,
		   (unsigned long long) round_seed, ntxns, mutation);
	exit(1);
}

Entry *
entry_of(int item)
{
	for (int i = 0; i < nentries; i++)
		if (entries[i].live && entries[i].item == item)
			return &entries[i];
	return NULL;
}

/* After each commit: conservation, and what the next checks go by. */
void
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
int32
reach(const Txn *t, int item)
{
	int32		units = unsold[item] + t->work.freed[item] - t->work.used[item];

	for (int i = 0; i < ntxns; i++)
		if (txns[i].visible)
			units -= txns[i].work.freed[item];
	return units;
}

void
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

bool
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
void
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

void
stop_waiting(Txn *t)
{
	t->wait_lock = NULL;
	t->wait_xid = 0;
	t->wait_readers = false;
}

/* Nothing is left of what the transaction was. */
void
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

void
raise_error(Txn *t)
{
	counts[ERRORS]++;
	_longjmp(t->error, 1);
}

/* End an atomic step, where no interrupt is served. */
void
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
void
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
void
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

bool
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
void
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

void
take_lock(Txn *t, Lock *lock, const char *what)
{
	await_lock(t, lock, what);
	(void) try_lock(t, lock);
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
	run_transactions(t);
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
