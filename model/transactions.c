/*
 * transactions.c
 *		Transactions: their operations, commit, abort and savepoints.
 *
 * Commit and abort take their steps in the order of PostgreSQL's xact.c and of
 * src/callbacks.c of the extension.
 */
#include <setjmp.h>
#include <string.h>

#include "cache.h"
#include "chance.h"
#include "holds.h"
#include "laws.h"
#include "list.h"
#include "numbered.h"
#include "orders.h"
#include "sale.h"
#include "steps.h"
#include "tables.h"
#include "transactions.h"
#include "world.h"

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

/*
 * Release the locks that a level and those below it have taken, or move them
 * to the level above.
 */
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

/* Row locks end when others see that the transaction has ended. */
static void
for_row_locks(Txn *t, int level, bool release)
{
	for_locks(t, row_locks, ITEMS, level, release);
	for_locks(t, order_locks, norders, level, release);
}

/* Heavyweight locks, including those on xids, end after the callbacks. */
static void
for_heavy_locks(Txn *t, int level, bool release)
{
	for_locks(t, item_locks, ITEMS, level, release);
	for_locks(t, refill_locks, ITEMS, level, release);
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
	for (int i = t->nholds - 1; i >= 0; i--)
		if (t->holds[i].level >= level)
		{
			if (mutation == SAVEPOINT_KEEPS_HOLD)
				drop_hold(t, &t->holds[i]);
			else
				abort_hold(t, &t->holds[i]);
		}
	hold_numbers_abort_level(t);
	for_heavy_locks(t, level, true);
	t->pin = NULL;
	t->level--;
}

static void
rollback(Txn *t)
{
	while (t->level > 0)
		rollback_level(t);
	for_row_locks(t, 0, true);
	memset(&t->work, 0, sizeof(Work));
	step_on(t, "abort");
	while (t->nholds > 0)
		abort_hold(t, &t->holds[t->nholds - 1]);
	end_transaction(t);
}

/* Move a hold to the level above. */
static void
lift_hold(Txn *t, Hold *hold)
{
	Hold	   *outer = find_hold(t, hold->entry, hold->level - 1,
								  hold->lease_id);

	if (outer == NULL)
	{
		hold->level--;
		return;
	}
	outer->hold += hold->hold;
	outer->credit += hold->credit;
	outer->refiller |= hold->refiller;
	publish(outer);
	drop_hold(t, hold);
}

static void
release_level(Txn *t)
{
	for (int i = t->nholds - 1; i >= 0; i--)
		if (i < t->nholds && t->holds[i].level == t->level)
			lift_hold(t, &t->holds[i]);
	hold_numbers_commit_level(t);
	for_row_locks(t, t->level, false);
	for_heavy_locks(t, t->level, false);
	t->level--;
	step(t, "release savepoint");
}

/* Make the changes of the transaction visible, all in one step. */
static void
apply(Txn *t)
{
	const Work *work = &t->work;

	if (work->emptied)
		forget_tables();
	if (norders + work->norders > ORDERS)
		broken("the model has too few slots for orders", t->item);
	for (int i = 0; i < ITEMS; i++)
	{
		supplied[i] += work->supplied[i];
		refunded[i] |= work->refunded[i];
		archived[i] |= work->archived[i];
		if (work->row[i].mine)
			table[i] = work->row[i];
		table[i].mine = false;
	}
	for (int i = 0; i < work->nmoves; i++)
	{
		note_order(&orders[work->moves[i].order], &work->moves[i].now);
		orders[work->moves[i].order] = work->moves[i].now;
	}
	for (int i = 0; i < work->norders; i++)
	{
		note_order(NULL, &work->orders[i]);
		orders[norders++] = work->orders[i];
	}
	t->visible = true;
	for_row_locks(t, 0, true);
	look_at_tables();
	note_reach();
}

/* Announce the changed rows to the cache, after the commit is visible. */
void
change_announce(Txn *t)
{
	for (int i = 0; i < ITEMS; i++)
		if (t->work.changed[i])
		{
			cache_row_changed(i);
			step_on(t, "commit: announce");
		}
	for (int i = 0; t->work.emptied && i < nentries; i++)
		if (entries[i].live)
		{
			cache_start_lease(&entries[i]);
			cache_evict(&entries[i]);
		}
	t->work.emptied = false;
}

static void
release_holds(Txn *t)
{
	while (t->nholds > 0)
		commit_hold(t, &t->holds[t->nholds - 1]);
}

/* Commit: make changes visible, announce them, release holds, then locks. */
static void
commit(Txn *t)
{
	while (t->level > 0)
		release_level(t);
	if (mutation == RELEASE_BEFORE_COMMIT)
		release_holds(t);
	apply(t);
	step_on(t, "commit: visible");
	if (mutation == RELEASE_BEFORE_ANNOUNCE)
		release_holds(t);
	change_announce(t);
	release_holds(t);
	end_transaction(t);
}

/*
 * Change a random order, committed or inserted by the transaction itself.
 * relation_lock_items() waits for a running TRUNCATE.
 */
static void
change_some_order(Txn *t, int what)
{
	int			n;
	int			k;

	relation_lock_items(t);
	n = norders + t->work.norders;
	if (n == 0)
		return;
	k = below(n);
	if (k >= norders)
		k += ORDERS - norders;
	if (what == 16)
		order_confirm_late(t, k);
	else if (one_in(3))
		order_archive(t, k);
	else if (one_in(3))
		order_confirm(t, k);
	else
		order_end(t, k, what == 17);
}

/* One random operation. */
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
		lease_recall(t, item);
	else if (what >= 21)
		lease_prewarm(t, item);
	else if (what >= 20)
		item_restock(t, item);
	else if (what >= 19)
	{
		if (one_in(2))
			truncate_tables(t);
		else
			item_close(t, item);
	}
	else if (what >= 16)
		change_some_order(t, what);
	else if (norders >= ORDERS - MAX_TXNS * NEW_ORDERS)
		return;
	else if (what < 4 && t->work.norders + LISTS_UNITS + 2 * t->ops <= NEW_ORDERS)
		buy_lists(t);
	else
		(void) buy(t, item, 1 + one_in(5));
}

/* At the end of a round: buy the units that are left, one by one. */
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

void
run_transactions(Txn *t)
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
