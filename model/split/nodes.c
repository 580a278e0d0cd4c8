/*
 * nodes.c
 *		Nodes that start, crash, are restored from an older copy, or are left
 *		out.
 */
#include <string.h>

#include "nodes.h"
#include "share.h"
#include "world.h"

uint64		crashes;
uint64		restores;
uint64		lost_orders;

/*
 * Make a node of a new sale.  total units are supplied at home, and units of
 * them are here: a satellite has got its share and told home so.
 */
void
make_node(int node, int32 units, int32 total)
{
	Node	   *x = &world.nodes[node];
	Tables	   *home = &world.nodes[HOME].t;
	NumberSet	numbers = 0;

	memset(x, 0, sizeof(Node));
	x->up = true;
	x->m.row_owner = NOBODY;
	x->m.c.lease_id = ++world.last_lease;
	x->t.incarnation = 1;
	for (int i = 0; i < sale.nodes; i++)
		x->t.channels[i].incarnation = 1;
	if (node == HOME)
	{
		x->t.supplied = x->t.row.stock = total;
		x->t.known = x->t.free = sale.numbered ? set_up_to(total) : 0;
	}
	else
	{
		numbers = take_from_row(home, units);
		home->channels[node].sent = units;
		home->channels[node].numbers = numbers;
		x->t.row.stock = x->t.channels[HOME].received = units;
		x->t.channels[HOME].numbers = x->t.free = numbers;
	}
}

/*
 * The node starts, without what memory knew.  For a while it is silent, since
 * its former life may have made promises.
 */
void
start_node(Node *x)
{
	Memory	   *m = &x->m;

	memset(m, 0, sizeof(Memory));
	m->row_owner = NOBODY;
	m->c.lease_id = ++world.last_lease;
	x->up = true;
	if (mutation != NO_BOOT_WAIT)
		m->opens = m->promised = node_clock(x) + sale.silence;
}

/* Forget what buyers were told of orders that the copy does not have. */
static void
forget_orders(const Node *x, const Tables *copy)
{
	world.told &= ~kept_numbers(&x->t) | kept_numbers(copy);
	for (int i = 0; i < x->t.norders; i++)
	{
		const Order *order = &x->t.orders[i];
		bool		found = false;

		for (int k = 0; k < copy->norders; k++)
			found |= copy->orders[k].id == order->id;
		if (found)
			continue;
		lost_orders++;
		world.told &= ~order->numbers;
		if (order->request != 0)
			world.answers[order->request] = 0;
	}
}

/* The node goes down; copy is what it will be restored from, or NULL. */
void
stop_node(Node *x, const Tables *copy)
{
	crashes++;
	x->up = false;
	for (int i = 0; i < world.nprocs; i++)
		if (world.procs[i].node == node_number(x) &&
			(world.procs[i].place > 0 || !sale.exploring))
			end_proc(&world.procs[i]);
	if (copy == NULL)
		return;
	restores++;
	forget_orders(x, copy);
	x->t = *copy;
	x->t.recovering = true;		/* its timeline is not the one it knows */
	x->copy = x->t;
	before[node_number(x)] = x->t;
	x->hidden = true;
}

/*
 * Home goes on without a satellite that is lost, and has its users.  Its units
 * stay in the channel.
 */
void
leave_out(Node *home, int satellite)
{
	Channel    *channel = &change(home)->channels[satellite];

	channel->left_out = channel->no_users = 1;
	for (int r = 1; r < REQUESTS; r++)
		if (sale.slots[1 + r % (USERS - 1)] == satellite)
			world.answers[r] = 0;
}
