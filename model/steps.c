/*
 * steps.c
 *		The scheduler: who goes on after an atomic step, and who waits for what.
 */
#define _GNU_SOURCE				/* for ucontext.h on some systems */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "chance.h"
#include "laws.h"
#include "steps.h"
#include "world.h"

#define STACK_SIZE	(64 * 1024)

static jmp_buf main_place;


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

static void
__attribute__((noreturn))
go_to(Txn *t)
{
	_longjmp(t->place, 1);
}

/* Leave for the next; returns when t is gone back to. */
static void
__attribute__((noinline))
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
	t->nholds = t->nheld = 0;
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
static void (*starting_run) (Txn *t);

static void
coroutine(void)
{
	Txn		   *t = starting;
	void		(*run) (Txn *t) = starting_run;

	if (_setjmp(t->place) == 0)
		_longjmp(main_place, 1);
	t->restart = false;			/* a crash before the first step ends nothing */
	run(t);
}

/* Make a coroutine that runs t, up to the first time that it lets others run. */
void
start_coroutine(Txn *t, void (*run) (Txn *t))
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
	starting_run = run;
	if (_setjmp(main_place) == 0)
		(void) setcontext(&context);
}

/* Run until nobody can go on. */
void
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
