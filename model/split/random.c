/*
 * random.c
 *		Sales with random steps, clocks and faults.
 *
 * A sale has some seconds of clients and faults.  Then both stop, and all that
 * is left must be for sale, on any node.
 */
#include <stdio.h>
#include <string.h>

#include "../chance.h"
#include "buyer.h"
#include "driver.h"
#include "laws.h"
#include "network.h"
#include "nodes.h"
#include "random.h"
#include "returns.h"
#include "share.h"
#include "sync.h"
#include "world.h"

#define MS			1000
#define PATIENCE	(1000 * MS) /* of a buyer */
#define SHOWN		60

uint64		sale_seed;
uint64		steps;
uint64		sales;
uint64		shortfalls;			/* units, at the end of sales */
uint64		given_up;			/* nodes that were left out */
int64		fault_ms;			/* longest time between faults; 0: as drawn */

static int64 next_client;
static int64 next_fault;
static int	last_fault;			/* its node */
static int64 fault_interval;	/* the longest */
static int64 client_interval;	/* the longest */

static char trace[SHOWN][200];

static void
trace_step(const char *what, int node, int kind, int place)
{
	char	   *line = trace[steps % SHOWN];
	int			n = snprintf(line, 200, "%9.3f ms %-8s node %d kind %d place %d |",
							 (double) world.now / MS, what, node, kind, place);

	for (int i = 0; i < sale.nodes && n < 150; i++)
	{
		const Node *x = &world.nodes[i];

		n += snprintf(line + n, (size_t) (200 - n), " %d+%d/%d%s%s",
					  x->t.row.stock, x->t.row.leased, live_units(&x->t),
					  x->t.recovering ? "r" : "", x->up ? "" : "-");
	}
}

void
print_trace(void)
{
	for (uint64 i = steps > SHOWN ? steps - SHOWN : 0; i <= steps; i++)
		printf("%s\n", trace[i % SHOWN]);
}


/*
 * Faults
 */

static void
add_drivers(int node)
{
	(void) add_proc(DRIVER, node);
	if (faults && one_in(3))
		(void) add_proc(DRIVER, node);
}

/* back: 0 a crash, 1 restored to before the last change, 2 to an older copy */
static void
crash(Node *x, int back, int64 down)
{
	const Tables copy = back == 1 ? before[node_number(x)] : x->copy;

	if (!x->up)
		return;
	stop_node(x, back > 0 ? &copy : NULL);
	x->back_at = world.now + down;
}

static void
come_up(Node *x)
{
	Proc	   *p;

	start_node(x);
	add_drivers(node_number(x));
	if (faults && one_in(2) && (p = add_proc(RETURNER, node_number(x))) != NULL)
		sleep_for(p, below(30 * MS));
}

/* The operator gives up a node that is down; it may come back all the same. */
static void
give_up_node(Node *x)
{
	Node	   *home = &world.nodes[HOME];

	if (x == home || x->up || !serves(home) || home->m.row_owner != NOBODY)
		return;
	leave_out(home, node_number(x));
	x->back_at += below(800 * MS);
	given_up++;
}

/* Aim at the moment after a node has given units, or promised to have none. */
static void
ambush(void)
{
	Node	   *x = &world.nodes[served.node];

	if (served.node == NOBODY || !faults)
		return;
	if (served.given && one_in(10))
	{
		crash(x, one_in(4) ? 0 : 1 + below(2), (1 + below(9)) * MS);
		if (!one_in(3))
			give_up_node(x);
	}
	else if (served.promised && one_in(40))
		crash(x, 0, (1 + below(9)) * MS);
}

/*
 * A crash, often soon followed by another one, perhaps of the same node; or an operator says that a node
 * was restored, though it was not.
 */
static void
random_fault(void)
{
	Node	   *x = &world.nodes[last_fault];

	if (!one_in(4))
		x = &world.nodes[below(sale.nodes)];
	last_fault = node_number(x);
	if (one_in(5) && x->up)
		x->t.recovering = true;
	else
	{
		crash(x, one_in(3) ? 1 + below(2) : 0, (5 + below(145)) * MS);
		if (one_in(4))
			give_up_node(x);
	}
	next_fault = world.now + below(one_in(4) ? 150 * MS : fault_interval);
}


/*
 * Clients
 */

static Proc *
add_buyer(int node, int quantity, int user, int request, int64 patience)
{
	Proc	   *p = world.nodes[node].up ? add_proc(BUYER, node) : NULL;

	if (p == NULL)
		return NULL;
	p->quantity = (uint8) quantity;
	p->user = (uint8) user;
	p->request = (uint8) request;
	p->from_row = !sale.leased || one_in(3);
	p->until = world.now + patience;
	return p;
}

/*
 * Each call has a user, and some have a request.  At times a stale router sends
 * them to a wrong node, and a client calls again before it has an answer.
 */
static void
buy(void)
{
	int			quantity = one_in(6) ? 2 : 1;
	int			user = 1 + below(USERS - 1);
	int			request = one_in(4) ? 1 + below(REQUESTS - 1) : 0;
	int			node;

	if (request != 0)
	{
		user = 1 + request % (USERS - 1);
		quantity = request % 6 == 0 ? 2 : 1;
	}
	node = sale.slots[user];
	if (has_no_users(node) && !one_in(4))
		node = HOME;
	if (one_in(10))
		node = below(sale.nodes);
	(void) add_buyer(node, quantity, user, request, PATIENCE);
	if (request != 0 && one_in(3))
		(void) add_buyer(node, quantity, user, request, PATIENCE);
}

static void
random_client(void)
{
	int			what = below(1000);
	int			node = below(sale.nodes);
	Proc	   *p = NULL;

	next_client = world.now + below(client_interval);
	if (what < 730)
		buy();
	else if (what < 960)
		p = world.nodes[node].up ? add_proc(RETURNER, node) : NULL;
	else if (!world.nodes[HOME].up)
		return;
	else if (what < 975 && (p = add_proc(SETTER, HOME)) != NULL)
	{
		p->until = world.now + 800 * MS;
		p->restock = below(4);
	}
	else if (what < 985 && (p = add_proc(RETURNER, HOME)) != NULL)
		p->restock = 1 + below(2);
}


/*
 * Steps
 */

static void
run_proc(Proc *p)
{
	switch (p->kind)
	{
		case BUYER:
			buyer_step(p);
			break;
		case RETURNER:
			returner_step(p);
			break;
		case SETTER:
			setter_step(p);
			break;
		case SERVER:
			server_step(p);
			break;
		default:
			driver_step(p);
	}
	if (p->at <= world.now)
		p->at = world.now + pause();
}

/*
 * A restored node counts from when it opens; one that was left out, from when
 * what was proved without it is over.
 */
static void
open_nodes(void)
{
	for (int i = 0; i < sale.nodes; i++)
	{
		Node	   *x = &world.nodes[i];

		if (x->hidden && serves(x))
			x->hidden = false;
		if (world.nodes[HOME].t.channels[i].left_out)
			x->out_until = world.now + sale.promise * 11 / 10;
		x->out = world.now < x->out_until;
	}
}

/* Is this event the next one? */
static bool
is_next(int64 at, int64 *next)
{
	if (at >= *next)
		return false;
	*next = at;
	return true;
}

/* Run the next event, unless it is later than until; false if so. */
static bool
run_next(int64 until)
{
	int64		next = until;
	Proc	   *proc = NULL;
	Node	   *node = NULL;
	int			msg = -1;
	bool		client = faults && is_next(next_client, &next);
	bool		fault = faults && is_next(next_fault, &next);

	for (int i = 0; i < world.nprocs; i++)
		if (world.procs[i].kind != NO_PROC && is_next(world.procs[i].at, &next))
			proc = &world.procs[i];
	for (int i = 0; i < world.nmsgs; i++)
		if (is_next(world.msgs[i].at, &next))
			msg = i;
	for (int i = 0; i < sale.nodes; i++)
		if (!world.nodes[i].up && is_next(world.nodes[i].back_at, &next))
			node = &world.nodes[i];
	if (next == until)
	{
		world.now = until > world.now ? until : world.now;
		return false;
	}
	world.now = next > world.now ? next : world.now;
	served.node = NOBODY;
	if (node != NULL)
		come_up(node);
	else if (msg >= 0)
	{
		trace_step("message", world.msgs[msg].to, world.msgs[msg].kind, 0);
		if (!deliver(msg))
			world.msgs[msg].at = world.now + 1 + below(MS);
	}
	else if (proc != NULL)
	{
		trace_step("step", proc->node, proc->kind, proc->place);
		run_proc(proc);
	}
	else if (fault)
		random_fault();
	else if (client)
		random_client();
	ambush();
	open_nodes();
	check_world();
	steps++;
	return true;
}

static void
run_for(int64 duration)
{
	int64		until = world.now + duration;

	while (run_next(until))
		;
}


/*
 * Sales
 */

static void
begin_sale(void)
{
	int32		total = 1 + below(8);
	int32		left = total;

	memset(&world, 0, sizeof(World));
	sale.nodes = 2 + below(NODES - 1);
	sale.limit = one_in(2) ? 1 + below(4) : 0;
	sale.numbered = one_in(2);
	sale.leased = one_in(2);
	sale.promise = 100 * MS;
	sale.proof = 90 * MS;
	sale.bound = 120 * MS;
	sale.silence = 110 * MS;
	sale.use_percent = 90;
	faults = true;
	for (int u = 0; u < USERS; u++)
		sale.slots[u] = below(sale.nodes);
	for (int i = 0; i < sale.nodes; i++)
	{
		int32		units = i == HOME ? 0 : below(left + 1);

		make_node(i, units, total);
		left -= units;
	}
	for (int i = 0; i < sale.nodes; i++)
	{
		Node	   *x = &world.nodes[i];

		x->ppm = below(60001) - 30000;
		x->offset = below(1000000) * (int64) MS;
		x->t.numbered_at = node_clock(x);
		x->copy = before[i] = x->t;
		add_drivers(i);
	}
	next_client = 0;
	client_interval = (one_in(2) ? 10 : 30) * MS;
	fault_interval = (one_in(3) ? 200 : 1000) * MS;
	if (fault_ms > 0)
		fault_interval = fault_ms * MS;
	next_fault = below(fault_interval);
	last_fault = HOME;
}

/* A call in the calm; returns its outcome. */
static Outcome
call_and_wait(int node)
{
	Proc	   *p = add_buyer(node, 1, 0, 0, 3 * PATIENCE);

	if (p == NULL)
		broken("the model has too few slots for processes", NULL);
	while (p->kind == BUYER)
		run_for(5 * MS);
	return (Outcome) p->outcome;
}

/* Every unit can be bought from any node, and then all are told sold_out. */
static void
sell_the_rest(void)
{
	int			told = 0;
	int			all = 0;

	for (int i = 0; i < sale.nodes; i++)
		all |= has_no_users(i) ? 0 : 1 << i;
	while (told != all)
	{
		int			node = below(sale.nodes);
		Outcome		outcome;

		if (has_no_users(node))
			continue;
		outcome = call_and_wait(node);

		if (outcome == BUSY)
			broken("busy, and all nodes are up", &world.nodes[node]);
		if (outcome == SOLD && told != 0)
			broken("sold after sold_out", &world.nodes[node]);
		if (outcome == SOLD_OUT)
			told |= 1 << node;
	}
	if (offered() != 0)
		broken("units are left that cannot be bought", NULL);
}

/* Two buyers of two units, each on a node with one: one of them gets both. */
static void
two_for_two(void)
{
	Proc	   *buyers[2];

	for (int s = 1; s <= 2; s++)
	{
		Proc	   *p = add_proc(RETURNER, s);

		p->order = 0;
	}
	run_for(400 * MS);
	if (offered() != 2 || unsold(&world.nodes[1].t) != 1)
		return;
	for (int s = 1; s <= 2; s++)
		buyers[s - 1] = add_buyer(s, 2, 0, 0, 3 * PATIENCE);
	while (buyers[0]->kind == BUYER || buyers[1]->kind == BUYER)
		run_for(5 * MS);
	if (buyers[0]->outcome != ROLLED_BACK &&
		buyers[1]->outcome != ROLLED_BACK &&
		buyers[0]->outcome + buyers[1]->outcome != SOLD + SOLD_OUT)
		broken("of two buyers of two units, not exactly one gets them", NULL);
}

/*
 * Buyers ask on all nodes all the time, so promises are made all the time.  An
 * order that is cancelled then is not kept waiting.
 */
static void
return_while_asked(void)
{
	int			node = below(sale.nodes);
	Proc	   *p;

	if (live_units(&world.nodes[node].t) == 0)
		return;
	run_for(200 * MS);
	for (int i = 0; i < 20; i++)
	{
		(void) add_buyer(below(sale.nodes), 1, 0, 0, 30 * MS);
		run_for(10 * MS);
	}
	p = add_proc(RETURNER, node);
	for (int i = 0; p->kind == RETURNER && i < 60; i++)
	{
		(void) add_buyer(below(sale.nodes), 1, 0, 0, 30 * MS);
		run_for(10 * MS);
	}
	if (p->kind == RETURNER)
		broken("a return is kept waiting by those who ask",
			   &world.nodes[node]);
}

static void
check_end(void)
{
	for (int i = 0; i < sale.nodes; i++)
	{
		const Node *x = &world.nodes[i];

		if (!serves(x))
			broken("a node does not serve again", x);
		if (x->out)
			broken("a node that is back is still left out", x);
		if (i != HOME && has_no_users(i) != (x->t.channels[HOME].no_users != 0))
			broken("home and a node both have its users, or none", x);
		shortfalls += x->t.shortfall > 0 ? (uint64) x->t.shortfall : 0;
		for (int k = 0; k < sale.nodes; k++)
			if (x->t.channels[k].sent !=
				world.nodes[k].t.channels[i].received &&
				mutation != NO_REJOIN)
				broken("units are in transit for ever", x);
	}
}

/* One sale, which sale_seed determines. */
void
play_sale(void)
{
	state = sale_seed;
	begin_sale();
	run_for(2500 * MS);
	faults = false;
	run_for(2500 * MS);
	check_end();
	sell_the_rest();
	return_while_asked();
	if (sale.nodes > 2 && !has_no_users(1) && !has_no_users(2))
		two_for_two();
	sales++;
}
