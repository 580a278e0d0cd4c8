/*
 * returns.c
 *		Units that come back: cancels, restocks, seckill_set_available.
 *
 * A return first takes the gate, so that no promise is made any more, and then
 * waits until the last one is over.  The maintenance worker does not wait: it
 * marks the entry and comes back later.
 */
#include "../chance.h"
#include "laws.h"
#include "returns.h"
#include "share.h"
#include "world.h"

enum
{
	RETURN_START,
	RETURN_MARKED,				/* the maintenance worker will come back */
	RETURN_GATE,				/* has the gate: wait for the promise */
	RETURN_ROW,
	RETURN_COMMIT				/* has the row locked */
};

uint64		returns;
uint64		exact_cuts;
int64		longest_return;

static void
take_gate(Proc *p)
{
	p->gate = mutation != GATE_LATE;
	p->place = RETURN_GATE;
	p->asked = world.now;
}

static void
start_return(Proc *p, Node *x)
{
	if (sale.exploring)
	{
		if (serves(x) && live_units(&x->t) > 0)
			take_gate(p);
	}
	else if (!serves(x))
		p->kind = NO_PROC;
	else if (!one_in(4))
		take_gate(p);
	else
		p->place = RETURN_MARKED;
}

/* The maintenance worker: mark the entry until the last promise is over. */
static void
come_back(Proc *p, Node *x)
{
	if (node_clock(x) >= x->m.promised)
		take_gate(p);
	else if (mutation != MARK_IGNORED)
		x->m.marked = node_clock(x) + 2 * sale.promise;
	sleep_for(p, below(50) * 1000);
}

/* A random live order, or 0. */
static int32
some_order(const Tables *t)
{
	int			live = 0;

	for (int i = 0; i < t->norders; i++)
		live += t->orders[i].state == LIVE;
	live = live > 1 ? choose(live) : live - 1;
	for (int i = 0; i < t->norders; i++)
		if (t->orders[i].state == LIVE && live-- == 0)
			return t->orders[i].id;
	return 0;
}

static void
restock(Node *x, int32 units)
{
	Tables	   *t = change(x);
	int32		n = set_count(t->known);

	if (sale.numbered && n + units > NUMBERS)
		return;
	t->row.stock += units;
	t->supplied += units;
	if (!sale.numbered)
		return;
	t->free |= set_first(~t->known, units);
	t->known |= set_first(~t->known, units);
}

static void
commit_return(Proc *p, Node *x)
{
	if (!x->t.recovering)
	{
		returns++;
		if (p->restock > 0)
			restock(x, p->restock);
		else
			end_order(x, p->order);
	}
	free_row(x);
	p->kind = NO_PROC;
}

/* One step of a cancel or restock. */
void
returner_step(Proc *p)
{
	Node	   *x = &world.nodes[p->node];

	switch (p->place)
	{
		case RETURN_START:
			start_return(p, x);
			break;
		case RETURN_MARKED:
			come_back(p, x);
			break;
		case RETURN_GATE:
			if (node_clock(x) < x->m.promised &&
				mutation != RETURN_IGNORES_PROMISE)
				break;
			p->place = RETURN_ROW;
			p->gate = true;
			if (world.now - p->asked > longest_return)
				longest_return = world.now - p->asked;
			break;
		case RETURN_ROW:
			if (!try_row(x, p))
				break;
			p->order = p->restock > 0 ? 0 : some_order(&x->t);
			p->place = RETURN_COMMIT;
			if (!sale.exploring)
			{
				sleep_for(p, one_in(4) ? below(60) * 1000 : 0);
				break;
			}
			/* FALLTHROUGH */
		case RETURN_COMMIT:
			commit_return(p, x);
			break;
	}
}

/* Everything is home, on the locked row: so many units are left from now on. */
static void
set_available(Node *x, int32 units)
{
	Tables	   *t = change(x);
	int32		more = units - t->row.stock;

	if (offered() != t->row.stock)
		broken("set_available does not count all units", x);
	exact_cuts++;
	if (more > 0)
	{
		restock(x, more);
		return;
	}
	t->supplied += more;
	t->off_sale |= take_from_row(t, -more);
}

/* One step of seckill_set_available() at home. */
void
setter_step(Proc *p)
{
	Node	   *x = &world.nodes[p->node];

	p->gate = true;
	x->m.renew = node_clock(x) + sale.promise;
	if (serves(x) && x->m.promised <= node_clock(x) &&
		node_clock(x) < x->m.home_until && try_row(x, p))
	{
		(void) take_units(x, p, x->m.c.avail, x->m.c.avail);
		(void) change(x);
		give_up_lease(x, p);
		free_row(x);
		if (x->m.c.held == 0)
		{
			set_available(x, p->restock);
			p->kind = NO_PROC;
		}
	}
	if (world.now > p->until)
		p->kind = NO_PROC;
}
