/*
 * share.c
 *		The share of a node: its row, cache and orders.
 *
 * The steps within one node are coarser than those of the model of the leases,
 * which checks them: a commit, its callbacks and the release of its locks are
 * one step here.
 */
#include <string.h>

#include "share.h"
#include "world.h"

Tables		before[NODES];		/* before the last change, to restore */

/*
 * Begin a change of the tables, which this step commits.  At times keeps the
 * state before it as the older copy.
 */
Tables *
change(Node *x)
{
	if (!sale.exploring)
	{
		before[node_number(x)] = x->t;
		if (maybe(10))
			x->copy = x->t;
	}
	return &x->t;
}

/* Units that the open lease has sold, also those that came back since. */
int32
sold_on_lease(const Tables *t)
{
	int32		units = 0;

	for (int i = 0; i < t->norders; i++)
		if (t->row.lease_id != 0 && t->orders[i].lease_id == t->row.lease_id)
			units += t->orders[i].units;
	return units;
}

/* Units on the row and in its lease. */
int32
unsold(const Tables *t)
{
	return t->row.stock + t->row.leased - sold_on_lease(t);
}

/* Units of orders that keep them. */
int32
live_units(const Tables *t)
{
	int32		units = 0;

	for (int i = 0; i < t->norders; i++)
		if (t->orders[i].state != DEAD)
			units += t->orders[i].units;
	return units;
}

/* Numbers of orders that keep them. */
NumberSet
kept_numbers(const Tables *t)
{
	NumberSet	numbers = 0;

	for (int i = 0; i < t->norders; i++)
		if (t->orders[i].state != DEAD)
			numbers |= t->orders[i].numbers;
	return numbers;
}

/* All numbers of the share, on sale or sold. */
NumberSet
share_numbers(const Node *x)
{
	NumberSet	numbers = x->t.known & ~x->t.off_sale;

	if (x != &world.nodes[HOME])
		return x->t.channels[HOME].numbers;
	for (int s = 1; s < sale.nodes; s++)
		numbers &= ~x->t.channels[s].numbers;
	return numbers;
}

/* Unsold numbers of the open lease: those of the share in no other place. */
NumberSet
leased_numbers(const Node *x)
{
	NumberSet	all = share_numbers(x);

	if (mutation == SETTLE_WHOLE_ITEM)
		all |= world.nodes[HOME].t.known;
	return all & ~x->t.free & ~kept_numbers(&x->t);
}

/* Lock the row until free_row(); false if another process has it. */
bool
try_row(Node *x, const Proc *p)
{
	if (x->m.row_owner != NOBODY && x->m.row_owner != proc_number(p))
		return false;
	x->m.row_owner = proc_number(p);
	return true;
}

void
free_row(Node *x)
{
	x->m.row_owner = NOBODY;
}

/* Put from min to max units of the cache on hold, or none. */
bool
take_units(Node *x, Proc *p, int32 min, int32 max)
{
	int32		units = counters_take(&x->m.c, min, max);

	p->lease_id = x->m.c.lease_id;
	p->held = units;
	p->numbers = set_first(x->m.ring, sale.numbered ? units : 0);
	x->m.ring &= ~p->numbers;
	return units > 0;
}

/* Return units on hold to the cache. */
void
return_units(Node *x, Proc *p)
{
	if (counters_adjust(&x->m.c, p->lease_id, p->held, -p->held))
	{
		x->m.c.generation++;
		x->m.ring |= p->numbers;
	}
	p->held = 0;
	p->numbers = 0;
}

/* Put the units of a lease that no memory knows on the row, which is locked. */
void
settle(Node *x)
{
	Tables	   *t = &x->t;
	NumberSet	numbers = leased_numbers(x);
	int32		units = t->row.leased - sold_on_lease(t);

	if (!counters_lost(&x->m.c, &t->row))
		return;
	if (sale.numbered && set_count(numbers) != units)
		broken("a settle finds more or fewer numbers than units", x);
	t->row.stock += units;
	t->free |= sale.numbered ? numbers : 0;
	t->row.leased = 0;
	t->row.lease_id = 0;
}

/* Take units from the row, and their numbers if it has some. */
NumberSet
take_from_row(Tables *t, int32 units)
{
	NumberSet	numbers = set_first(t->free, sale.numbered ? units : 0);

	t->row.stock -= units;
	t->free &= ~numbers;
	return numbers;
}

/* Lease units of the locked row, and put them on sale. */
void
refill(Node *x)
{
	Tables	   *t = change(x);
	int32		units;

	settle(x);
	units = t->row.stock < 3 ? t->row.stock : 3;
	if (units == 0)
		return;
	t->row.leased += units;
	t->row.lease_id = x->m.c.lease_id;
	x->m.ring |= take_from_row(t, units);
	x->m.c.avail += units;
	x->m.c.generation++;
}

/*
 * Return the recalled units on hold to the locked row, and settle a lease that
 * no memory knows.  Closes the lease if no other transaction holds units.
 */
void
give_up_lease(Node *x, Proc *p)
{
	Tables	   *t = &x->t;

	if (mutation != NONE_WITH_LOST_LEASE)
		settle(x);
	if (p->held > 0)
	{
		t->row.stock += p->held;
		t->row.leased -= p->held;
		t->free |= p->numbers;
		(void) counters_adjust(&x->m.c, p->lease_id, 0, -p->held);
	}
	p->held = 0;
	p->numbers = 0;
	if (t->row.lease_id != x->m.c.lease_id ||
		mutation == NONE_WITH_CACHE ||
		(x->m.c.held > 0 && mutation != RECALL_CLOSES_HELD))
		return;
	t->row.stock += t->row.leased - sold_on_lease(t);
	t->free |= sale.numbered ? leased_numbers(x) : 0;
	t->row.leased = 0;
	t->row.lease_id = 0;
	x->m.c.lease_id = ++world.last_lease;
	x->m.c.avail = x->m.c.held = 0;
	x->m.ring = 0;
}

/* Drop orders that nothing refers to. */
static void
vacuum(Tables *t)
{
	int			kept = 0;

	for (int i = 0; i < t->norders; i++)
		if (t->orders[i].state != DEAD || t->orders[i].request != 0 ||
			(t->row.lease_id != 0 && t->orders[i].lease_id == t->row.lease_id))
			t->orders[kept++] = t->orders[i];
	memset(&t->orders[kept], 0, sizeof(Order) * (size_t) (t->norders - kept));
	t->norders = kept;
}

/*
 * A new order: its id is new.  At times its buyer is told what its numbers are
 * worth.
 */
static void
note_order(const Node *x, const Order *order)
{
	int32	   *last_id = &world.last_ids[node_number(x)];

	if (order->id <= *last_id)
		broken("an order id is used twice", x);
	*last_id = order->id;
	if (!sale.numbered)
		return;
	if ((order->numbers & world.told) != 0)
		broken("a number is told to two buyers", x);
	if (maybe(4))
		world.told |= order->numbers;
}

/*
 * Insert the order of a purchase, with the lease of its hold if it has one.
 * NULL: the model has no slot for it.
 */
Order *
insert_order(Node *x, const Proc *p, NumberSet numbers)
{
	Tables	   *t = &x->t;
	Order	   *order;

	if (t->norders == ORDERS)
		vacuum(t);
	if (t->norders == ORDERS)
		return NULL;
	order = &t->orders[t->norders++];
	memset(order, 0, sizeof(Order));
	order->id = (node_number(x) << 24) + ++t->next_id;
	order->state = LIVE;
	t->numbered_at = sale.exploring ? 0 : node_clock(x);
	order->units = p->quantity;
	order->user = p->user;
	order->request = p->request;
	order->lease_id = p->held > 0 ? p->lease_id : 0;
	order->numbers = numbers;
	note_order(x, order);
	return order;
}

/*
 * End an order on the locked row: its units are on sale again, unless the
 * buyer knows their numbers, or there is a shortfall, which they cover.
 */
void
end_order(Node *x, int32 id)
{
	Tables	   *t = change(x);

	for (int i = 0; i < t->norders; i++)
	{
		Order	   *order = &t->orders[i];
		int32		units = order->units;

		if (order->id != id || order->state != LIVE)
			continue;
		if ((order->numbers & world.told) != 0 &&
			mutation != BURNT_NUMBER_RETURNS)
		{
			order->state = BURNT;
			return;
		}
		if (sale.numbered)
			units = set_count(order->numbers);
		else if (t->shortfall > 0)
			units -= units < t->shortfall ? units : t->shortfall;
		t->shortfall -= order->units - units;
		t->row.stock += units;
		t->free |= order->numbers;
		order->numbers = 0;
		order->state = DEAD;
		return;
	}
}

/* Are the row, the cache, the lease and all holds empty? */
bool
nothing_here(const Node *x)
{
	const LeaseCounters *c = &x->m.c;

	return x->t.row.stock == 0 && c->avail == 0 && c->held == 0 &&
		(unsold(&x->t) == 0 || mutation == NONE_WITH_LOST_LEASE);
}

/* Is a return under way? */
bool
has_gate(const Node *x)
{
	for (int i = 0; i < world.nprocs; i++)
		if (world.procs[i].kind != NO_PROC && world.procs[i].gate &&
			world.procs[i].node == node_number(x))
			return true;
	return false;
}

/* Does home sell to the users of the node, as it was left out once? */
bool
has_no_users(int node)
{
	return node != HOME && world.nodes[HOME].t.channels[node].no_users != 0;
}
