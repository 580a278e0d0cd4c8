/*
 * laws.c
 *		The laws that must hold after each step.
 *
 * sold_out: at some moment of the call there were fewer units than it wanted,
 * counting free units, units on hold and in transit, also on nodes that are
 * down; a restored node counts from when it opens, one that was left out from
 * when nothing counts any more that was proved without it.  Of the orders of
 * such a node nothing is known elsewhere, so its users and requests begin anew.
 */
#include "laws.h"
#include "share.h"
#include "world.h"

/* Units that a call could get now, on all nodes. */
int32
offered(void)
{
	int32		units = 0;

	for (int i = 0; i < sale.nodes; i++)
	{
		const Node *x = &world.nodes[i];

		if (x->hidden || x->out)
			continue;
		units += unsold(&x->t);
		for (int k = 0; k < sale.nodes; k++)
			if (!world.nodes[k].hidden && !world.nodes[k].out)
				units += x->t.channels[k].sent -
					world.nodes[k].t.channels[i].received;
	}
	return units;
}

/* A buyer is told that its request is this order. */
void
note_sold(const Proc *p, int32 order)
{
	int32	   *told = &world.answers[p->request];

	if (p->request == 0 || has_no_users(p->node))
		return;
	if (*told != 0 && *told != order)
		broken("a request has made two orders", &world.nodes[p->node]);
	*told = order;
}

void
note_sold_out(const Proc *p)
{
	if (!p->fewer_seen)
		broken("sold_out, and there were units all the time",
			   &world.nodes[p->node]);
	if (p->request != 0 && world.answers[p->request] != 0 &&
		!has_no_users(p->node))
		broken("the retry of a request that has an order is refused",
			   &world.nodes[p->node]);
}

/* After each step: look at the units for the law of sold_out. */
void
note_step(void)
{
	int32		units = offered();

	for (int i = 0; i < world.nprocs; i++)
		if (world.procs[i].kind == BUYER &&
			units < world.procs[i].quantity)
			world.procs[i].fewer_seen = true;
}

/* The books of one node. */
static void
check_node(const Node *x)
{
	const Tables *t = &x->t;
	const Memory *m = &x->m;
	int32		lease = t->row.leased - sold_on_lease(t);
	int32		balance = t->supplied + t->shortfall - t->row.stock - lease -
		live_units(t);
	int32		held = 0;

	for (int k = 0; k < sale.nodes; k++)
		balance += t->channels[k].received - t->channels[k].sent;
	if (t->row.stock < 0 || lease < 0)
		broken("negative stock", x);
	if (balance != 0)
		broken("the local audit differs", x);
	if (sale.numbered && t->row.stock != set_count(t->free))
		broken("the row has more or fewer numbers than units", x);
	if (!x->up)
		return;
	for (int i = 0; i < world.nprocs; i++)
		if (world.procs[i].kind != NO_PROC &&
			world.procs[i].node == node_number(x) &&
			world.procs[i].lease_id == m->c.lease_id)
			held += world.procs[i].held;
	if (held != m->c.held)
		broken("held is not the number of units on hold", x);
	if (t->row.lease_id == m->c.lease_id && lease > m->c.avail + held)
		broken("units of the lease are in no hold and not on sale", x);
	if (t->row.lease_id == m->c.lease_id ? lease < m->c.avail :
		m->c.avail > 0)
		broken("the cache has more units than its lease", x);
}

/*
 * Each number is in one place: the parts of the item at home, in the shares
 * and in transit do not overlap; nor do those of a share.
 */
static void
check_numbers(void)
{
	const Node *home = &world.nodes[HOME];
	NumberSet	all = home->t.off_sale;

	for (int i = 0; i < sale.nodes; i++)
	{
		const Node *x = &world.nodes[i];
		NumberSet	share = share_numbers(x);
		NumberSet	kept = kept_numbers(&x->t);

		if ((share & all) != 0)
			broken("a number is in two shares", x);
		all |= share;
		if ((x->t.free & kept) != 0 || ((x->t.free | kept) & ~share) != 0)
			broken("a number is sold and free, or not in the share", x);
		if (set_count(share & ~x->t.free & ~kept) !=
			x->t.row.leased - sold_on_lease(&x->t))
			broken("more or fewer numbers than units are leased", x);
	}
	for (int s = 1; s < sale.nodes; s++)
	{
		const Channel *out = &home->t.channels[s];
		const Channel *back = &world.nodes[s].t.channels[HOME];
		NumberSet	given = out->sent > back->received ? out->transit : 0;
		NumberSet	returned = back->sent > out->received ? back->transit : 0;

		if ((given & returned) != 0 || ((given | returned) & all) != 0)
			broken("a number is in transit and elsewhere", NULL);
		if (set_count(given) != out->sent - back->received ||
			set_count(returned) != back->sent - out->received)
			broken("more or fewer numbers than units are in transit", NULL);
		if (out->numbers != (back->numbers | given | returned))
			broken("home does not know the numbers of a share",
				   &world.nodes[s]);
		all |= given | returned;
	}
	if (all != home->t.known)
		broken("a number is nowhere", NULL);
}

/* Units of live orders of each user, and of each request. */
static void
check_orders(void)
{
	int32		bought[USERS] = {0};
	int32		ids[REQUESTS] = {0};

	for (int i = 0; i < sale.nodes; i++)
	{
		const Tables *t = &world.nodes[i].t;

		for (int k = 0; k < t->norders && !has_no_users(i); k++)
		{
			const Order *order = &t->orders[k];

			if (order->state == LIVE)
				bought[order->user] += order->units;
			if (order->request != 0 && ids[order->request] != 0)
				broken("a request has two orders", &world.nodes[i]);
			ids[order->request] = order->id;
		}
	}
	for (int u = 1; sale.limit > 0 && u < USERS; u++)
		if (bought[u] > sale.limit)
			broken("a user has more units than the limit", NULL);
}

/* Check everything after a step. */
void
check_world(void)
{
	int32		sold = 0;
	int32		supplied = 0;
	bool		certain = true; /* each node knows what it has */

	for (int i = 0; i < sale.nodes; i++)
	{
		const Node *x = &world.nodes[i];

		check_node(x);
		sold += live_units(&x->t);
		supplied += x->t.supplied + x->t.shortfall;
		certain &= !x->t.recovering;
		for (int k = 0; k < sale.nodes && !x->t.recovering; k++)
			if (x->t.channels[k].sent <
				world.nodes[k].t.channels[i].received)
				broken("more is received than was sent", x);
	}
	if (certain && sold > supplied)
		broken("oversold", NULL);
	if (certain && sale.numbered)
		check_numbers();
	if (sale.limit > 0)
		check_orders();
	note_step();
}
