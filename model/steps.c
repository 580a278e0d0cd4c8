/*
 * steps.c
 *		The scheduler, which picks the transaction that continues after an
 *		atomic step; waiting and deadlocks.
 *
 * Transactions are coroutines: makecontext() makes the stacks, and setjmp()
 * switches between them.
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

/* Can t continue, or start one of the transactions that it has left to run? */
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

/* A random transaction that can continue, or NULL. */
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

/* Switch from t to next, or to the main stack; returns when t continues. */
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

/* Let other transactions run; returns when t is picked again. */
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

/* Clear the state of a transaction that has ended. */
void
reset(Txn *t)
{
	t->running = t->visible = t->wrote = t->calling = t->reads_table = false;
	t->nholds = t->nheld = 0;
	t->pin = NULL;
	memset(&t->work, 0, sizeof(Work));
	stop_waiting(t);
}

/*
 * Crash the server: memory and uncommitted changes are lost, and all
 * coroutines restart.
 */
static void
crash(void)
{
	counts[CRASHES]++;
	memset(entries, 0, sizeof(entries));
	for (int i = 0; i < ITEMS; i++)
	{
		row_locks[i].owner = item_locks[i].owner = NOBODY;
		refill_locks[i].owner = NOBODY;
	}
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

/* Raise an error: the transaction aborts the level or all of it. */
void
raise_error(Txn *t)
{
	counts[ERRORS]++;
	_longjmp(t->error, 1);
}

/*
 * End an atomic step at a place where no interrupt is processed: check the
 * laws, perhaps crash, let others run.
 */
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

/* End an atomic step at a place where an error or interrupt can be raised. */
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

/* The transaction that t waits for, or NOBODY; readers are not followed. */
static int
awaited(const Txn *t)
{
	if (t->wait_lock != NULL)
		return t->wait_lock->owner;
	if (t->wait_xid != 0 && xids[t->wait_xid].level >= 0)
		return xids[t->wait_xid].txn;
	return NOBODY;
}

/*
 * Raise an error if t waits for itself.  Law: a deadlock has a transaction of
 * more than one statement in it.
 */
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
		broken("single-statement transactions deadlock", t->item);
	counts[DEADLOCKS]++;
	stop_waiting(t);
	raise_error(t);
}

/*
 * Take the lock, until the end of the level; false if another transaction has
 * it.
 */
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

/* Wait until no other transaction has the lock. */
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
	t->restart = false;			/* nothing has run that a crash could end */
	run(t);
}

/* Make the coroutine of t; run_all() starts it. */
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

/* Run until no transaction can continue.  Law: none is still running then. */
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
			broken("all transactions wait", txns[i].item);
}
