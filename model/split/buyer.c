/*
 * buyer.c
 *		Purchases on a node of a split sale.
 *
 * The locks on the user and the request are held from the checks to the end,
 * also while the purchase waits for units of other nodes.
 */
#include <string.h>

#include "../chance.h"
#include "buyer.h"
#include "laws.h"
#include "share.h"
#include "world.h"

/* Places in the code of a buyer. */
enum
{
	BUY_IDLE,					/* an exhaustive run: the call has not begun */
	BUY_START,
	BUY_LOOK,					/* checks are done: look for units */
	BUY_JUDGED,					/* a mutation: has seen that the row is short */
	BUY_FROM_ROW,				/* has the row locked */
	BUY_REFILL,					/* has the row locked */
	BUY_HELD,					/* has units of the cache on hold */
	BUY_RELEASE					/* the order is visible, the hold is not over */
};

uint64		outcomes[OUTCOMES];
uint64		remembered;			/* sold_out that needed no message */

static void
answer(Proc *p, Outcome outcome)
{
	if (outcome == SOLD_OUT)
		note_sold_out(p);
	outcomes[outcome]++;
	p->kind = NO_PROC;
	p->outcome = (uint8) outcome;
}

/* Has another call the lock on the user or the request? */
static bool
is_locked(const Proc *p)
{
	for (int i = 0; i < world.nprocs; i++)
	{
		const Proc *q = &world.procs[i];

		if (q->kind != BUYER || q->node != p->node || q->place < BUY_LOOK)
			continue;
		if (p->user != 0 && q->user == p->user && sale.limit > 0 &&
			mutation != USER_UNLOCKED)
			return true;
		if (p->request != 0 && q->request == p->request &&
			mutation != REQUEST_UNLOCKED)
			return true;
	}
	return false;
}

/* Answer from the order that the request has made, if it has. */
static bool
is_retry(Proc *p, const Tables *t)
{
	for (int i = 0; i < t->norders && p->request != 0; i++)
		if (t->orders[i].request == p->request)
		{
			note_sold(p, t->orders[i].id);
			answer(p, SOLD);
			return true;
		}
	return false;
}

static bool
within_limit(const Proc *p, const Tables *t)
{
	int32		units = p->quantity;

	for (int i = 0; i < t->norders && p->user != 0; i++)
		if (t->orders[i].user == p->user && t->orders[i].state == LIVE)
			units += t->orders[i].units;
	return p->user == 0 || sale.limit == 0 || units <= sale.limit;
}

/* Is the node, as far as it knows, that of the buyer? */
static bool
is_mine(const Proc *p, const Node *x)
{
	int			node = sale.slots[p->user];

	if (p->node != HOME && x->t.channels[HOME].no_users)
		return false;
	if (p->user == 0 || node == p->node)
		return true;
	return p->node == HOME && x->t.channels[node].no_users;
}

/* The checks before the units: owner of the user, request, limit. */
static void
admit(Proc *p, Node *x)
{
	if (!serves(x))
		return;
	if (!is_mine(p, x) && mutation != OWNER_UNCHECKED)
		answer(p, MOVED);
	else if (is_locked(p))
		return;
	else if (mutation == REFUSED_BEFORE_REQUEST && nothing_here(x) &&
			 node_clock(x) < x->m.certificate)
		answer(p, SOLD_OUT);
	else if (is_retry(p, &x->t))
		return;
	else if (!within_limit(p, &x->t))
		answer(p, LIMIT_REACHED);
	else
		p->place = BUY_LOOK;
}

/* Is it known that there is no unit for the call on any node? */
static bool
is_sold_out(const Proc *p, const Node *x)
{
	const Memory *m = &x->m;
	bool		certified = nothing_here(x) && node_clock(x) < m->certificate;

	if (mutation == NOT_ASKING)
		return true;
	remembered += certified;
	if (certified)
		return true;
	if (p->node == HOME && node_clock(x) < m->home_until && !has_gate(x))
		return true;			/* everything is here, and it is too little */
	return nothing_here(x) && m->fewer_units > 0 &&
		p->quantity >= m->fewer_units &&
		(m->fewer_ask > p->begun || mutation == FEWER_OF_OLD_ASK);
}

/* What is here is too little, and no transaction here can return a unit. */
static void
short_of_units(Proc *p, Node *x)
{
	p->asking = true;
	x->m.renew = node_clock(x) + 2 * sale.promise;
	if (mutation == VERDICT_FIRST && p->place == BUY_LOOK)
	{
		p->place = BUY_JUDGED;
		return;
	}
	p->place = BUY_LOOK;
	if (is_sold_out(p, x))
		answer(p, SOLD_OUT);
}

/* Look for units on the locked row. */
static void
look_at_row(Proc *p, Node *x)
{
	if (x->t.row.stock >= p->quantity)
	{
		(void) try_row(x, p);
		p->place = BUY_FROM_ROW;
	}
	else if (unsold(&x->t) > x->t.row.stock)
		p->from_row = false;	/* the rest is in the cache */
	else
		short_of_units(p, x);
}

static void
look(Proc *p, Node *x)
{
	OwnUnits	own = {.lease_id = x->m.c.lease_id};

	p->asking = false;
	if (!serves(x))
		return;
	if (!p->from_row && take_units(x, p, p->quantity, p->quantity))
	{
		p->place = BUY_HELD;
		return;
	}
	if (x->m.row_owner != NOBODY)
		return;
	if (p->from_row)
	{
		look_at_row(p, x);
		return;
	}
	switch (counters_judge(&x->m.c, x->m.c.generation, &x->t.row,
						   p->quantity, &own))
	{
		case UNITS_REFILL:
			(void) try_row(x, p);
			p->place = BUY_REFILL;
			break;
		case UNITS_SOLD_OUT:
			short_of_units(p, x);
			break;
		case UNITS_RETRY:
		case UNITS_WAIT:
			break;
	}
}

static void
roll_back(Proc *p, Node *x)
{
	if (p->held > 0)
		return_units(x, p);
	if (x->m.row_owner == proc_number(p))
		free_row(x);
	answer(p, ROLLED_BACK);
}

/* Commit the purchase of units on hold, or of the locked row. */
static void
commit_purchase(Proc *p, Node *x)
{
	Tables	   *t = change(x);
	Order	   *order = insert_order(x, p, p->held > 0 ? p->numbers :
									 set_first(t->free, sale.numbered ?
											   p->quantity : 0));

	if (order == NULL)
	{
		roll_back(p, x);
		return;
	}
	note_sold(p, order->id);
	if (p->held > 0)
	{
		p->place = BUY_RELEASE;
		return;
	}
	(void) take_from_row(t, p->quantity);
	free_row(x);
	answer(p, SOLD);
}

/* One step of a buyer. */
void
buyer_step(Proc *p)
{
	Node	   *x = &world.nodes[p->node];

	switch (p->place)
	{
		case BUY_IDLE:
			p->place = BUY_START;
			p->begun = x->m.asks;
			p->fewer_seen = offered() < p->quantity;
			/* FALLTHROUGH */
		case BUY_START:
			admit(p, x);
			if (p->place != BUY_LOOK)
				break;
			/* FALLTHROUGH */
		case BUY_LOOK:
			look(p, x);
			break;
		case BUY_JUDGED:
			short_of_units(p, x);
			break;
		case BUY_REFILL:
			if (!maybe(8))
				refill(x);
			free_row(x);
			p->place = BUY_LOOK;
			break;
		case BUY_FROM_ROW:
		case BUY_HELD:
			if (maybe(4))
				roll_back(p, x);
			else
				commit_purchase(p, x);
			break;
		case BUY_RELEASE:
			(void) counters_adjust(&x->m.c, p->lease_id, 0, -p->held);
			p->held = 0;
			answer(p, SOLD);
			break;
	}
	if (p->kind == BUYER && p->place <= BUY_JUDGED && !sale.exploring &&
		world.now > p->until)
		answer(p, BUSY);
}
