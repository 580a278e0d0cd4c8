/*
 * explore.c
 *		All orders of steps of tiny sales.
 *
 * A depth-first search over states; a table has the fingerprints of all that
 * were met.  The clocks of all nodes are one number that can go on at any time,
 * and a promise lasts until it does.  Messages arrive at any time, any number
 * of times, or never.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buyer.h"
#include "driver.h"
#include "explore.h"
#include "laws.h"
#include "network.h"
#include "nodes.h"
#include "returns.h"
#include "share.h"
#include "sync.h"
#include "world.h"

#define DEPTH	1000

/* A tiny sale; the numbers are upper bounds of what happens in it. */
typedef struct Case
{
	const char *name;
	int			nodes;
	int			stock[NODES];
	const char *buyers;			/* node and quantity of each */
	const char *returns;		/* node of each */
	int			rounds;
	int			pulls;			/* of a satellite */
	int			crashes;
	int			restores;
	int			rejoins;		/* of a node that begin, some again */
	int			ticks;
	bool		leased;
	bool		numbered;
	int			limit;			/* of the user that all buyers are */
	bool		fewer;			/* replies may tell that there are fewer */
} Case;

static const Case cases[] = {
	{"units on both satellites", 3, {0, 1, 1}, "1121", "1", 1, 1, 0, 0, 0, 1, false, false, 0, false},
	{"a unit at home", 3, {1, 0, 0}, "1121", "1", 1, 1, 0, 0, 0, 1, false, false, 0, false},
	{"a crash", 3, {0, 1, 0}, "0111", "1", 1, 1, 1, 0, 0, 2, false, false, 0, false},
	{"a return at home", 2, {1, 0}, "0111", "0", 1, 2, 0, 0, 0, 2, false, false, 0, false},
	{"two rounds, a crash", 2, {1, 0}, "0111", "1", 2, 2, 1, 0, 0, 2, false, false, 0, false},
	{"two buyers on one node", 2, {0, 1}, "1111", "1", 2, 2, 1, 0, 0, 2, false, false, 0, false},
	{"two rounds", 3, {0, 1, 0}, "1121", "1", 2, 1, 0, 0, 0, 2, false, false, 0, false},
	{"three buyers", 2, {0, 2}, "011111", "1", 2, 1, 1, 0, 0, 2, false, false, 0, false},
	{"two units for one", 2, {1, 1}, "0112", "0", 2, 2, 0, 0, 0, 2, false, false, 0, true},
	{"a lease", 2, {0, 1}, "0111", "1", 1, 2, 0, 0, 0, 2, true, false, 0, false},
	{"a lease, a crash", 2, {0, 1}, "0111", "", 1, 1, 1, 0, 0, 2, true, false, 0, false},
	{"numbers", 2, {1, 1}, "0111", "1", 1, 2, 0, 0, 0, 2, false, true, 0, false},
	{"numbers, a node restored", 2, {0, 1}, "0111", "", 1, 1, 0, 1, 2, 1, false, true, 0, false},
	{"a node restored", 2, {0, 1}, "0111", "", 1, 1, 0, 1, 2, 1, false, false, 0, false},
	{"one buyer, a node restored", 2, {1, 0}, "11", "", 1, 1, 0, 1, 2, 1, false, false, 0, false},
	{"a unit goes home, a node restored", 2, {0, 1}, "01", "", 1, 0, 0, 1, 2, 1, false, false, 0, false},
	{"a return, a node restored", 2, {0, 1}, "01", "1", 1, 1, 0, 1, 2, 1, false, false, 0, false},
	{"two restores", 2, {0, 1}, "01", "", 1, 0, 0, 2, 2, 1, false, false, 0, false},
	{"three nodes, one restored", 3, {0, 1, 0}, "21", "", 1, 1, 0, 1, 1, 1, false, false, 0, false},
	{"a limit", 2, {1, 1}, "011111", "", 1, 1, 0, 0, 0, 1, false, false, 1, false},
};

static const Case *now;			/* the one that is explored */
static World *stack[DEPTH];
static char path[DEPTH][48];
static int	depth;
static bool too_deep;

/* fingerprints, by open addressing; 0: none */
typedef struct Fingerprint
{
	uint64		a;
	uint64		b;
} Fingerprint;

static Fingerprint *seen;
static uint64 seen_size;
static uint64 nseen;

int
ncases(void)
{
	return (int) (sizeof(cases) / sizeof(cases[0]));
}

void
print_path(void)
{
	for (int i = 0; i <= depth; i++)
		printf("%3d  %s\n", i, path[i]);
}


/*
 * Fingerprints
 */

static void
hash(Fingerprint *f, const void *data, size_t size)
{
	const unsigned char *p = data;
	uint64		word;

	for (; size >= sizeof(word); size -= sizeof(word), p += sizeof(word))
	{
		memcpy(&word, p, sizeof(word));
		f->a = (f->a ^ word) * UINT64_C(0x9FB21C651E98DF25);
		f->a ^= f->a >> 32;
		f->b = (f->b + word) * UINT64_C(0xD6E8FEB86659FD93);
		f->b ^= f->b >> 29;
	}
	if (size > 0)
		abort();
}

static void
hash_tables(Fingerprint *f, const Tables *t)
{
	hash(f, t, offsetof(Tables, orders) + sizeof(Order) * (size_t) t->norders);
}

static Fingerprint
fingerprint(void)
{
	Fingerprint f = {1, 2};

	hash(&f, &world, offsetof(World, msgs));
	hash(&f, world.msgs, sizeof(Msg) * (size_t) world.nmsgs);
	for (int i = 0; i < sale.nodes; i++)
	{
		hash(&f, &world.nodes[i], offsetof(Node, t));
		hash_tables(&f, &world.nodes[i].t);
		if (now->restores > 0)
			hash_tables(&f, &world.nodes[i].copy);
	}
	hash(&f, world.procs, sizeof(Proc) * (size_t) world.nprocs);
	f.a |= 1;
	return f;
}

/* Add a state; false if it was met before. */
static bool
is_new(void)
{
	Fingerprint f = fingerprint();
	uint64		i = f.b & (seen_size - 1);

	for (; seen[i].a != 0; i = (i + 1) & (seen_size - 1))
		if (seen[i].a == f.a && seen[i].b == f.b)
			return false;
	seen[i] = f;
	nseen++;
	return true;
}


/*
 * States
 */

static void
forget_time(int64 *time)
{
	if (*time <= world.now)
		*time = 0;
}

static int
compare_msgs(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(Msg));
}

/* Would the message change nothing, whenever it arrives? */
static bool
is_useless(const Msg *msg)
{
	const Node *x = &world.nodes[msg->to];
	const Channel *channel = &x->t.channels[msg->from];
	const Proc *p = &world.procs[msg->driver];
	bool		waits = p->serial == msg->serial && p->place > 0;

	if (msg->kind == HELLO_REPLY)
		return !waits;
	if (msg->kind == HELLO)
		return !waits && msg->incarnation == 0;
	if (msg->kind != REPLY || mutation == CREDIT_BY_REPLY ||
		world.restores < now->restores || x->t.recovering)
		return false;
	if (!msg->ok)
		return msg->known <= x->t.incarnation;
	return msg->sent <= channel->received && channel->transit == 0 &&
		msg->received <= channel->sent &&
		msg->incarnation <= channel->incarnation &&
		msg->remaining == 0 && msg->fewer == 0 &&
		(msg->to != HOME || !waits || !msg->none);
}

/* Leases of a node get the same ids, whatever happened before. */
static void
rename_leases(Node *x)
{
	const int64 open = x->m.c.lease_id;
	const int64 dead = x->t.row.lease_id;
	int64	   *ids[2 + ORDERS + PROCS];
	int			n = 0;

	ids[n++] = &x->m.c.lease_id;
	ids[n++] = &x->t.row.lease_id;
	for (int i = 0; i < x->t.norders; i++)
		ids[n++] = &x->t.orders[i].lease_id;
	for (int i = 0; i < world.nprocs; i++)
		if (world.procs[i].node == node_number(x))
			ids[n++] = &world.procs[i].lease_id;
	while (--n >= 0)
		*ids[n] = *ids[n] == 0 ? 0 : *ids[n] == open ? 1 : *ids[n] == dead ? 2 : 3;
}

/* States that differ only in what no longer matters become the same. */
static void
normalize(void)
{
	int			kept = 0;

	world.last_lease = 3;
	for (int i = 0; i < sale.nodes; i++)
	{
		Memory	   *m = &world.nodes[i].m;

		forget_time(&m->opens);
		forget_time(&m->promised);
		forget_time(&m->certificate);
		forget_time(&m->home_until);
		if (now->leased)
			rename_leases(&world.nodes[i]);
		m->renew = 0;
		if (!now->fewer)
			m->asks = m->fewer_ask = m->fewer_units = 0;
		m->c.generation = 0;
		memset(m->wants, 0, sizeof(m->wants));
		memset(m->wants_until, 0, sizeof(m->wants_until));
	}
	for (int i = 0; i < world.nprocs; i++)
	{
		Proc	   *p = &world.procs[i];

		if (p->kind == NO_PROC)
			memset(p, 0, sizeof(Proc));
		if (p->held == 0)
			p->lease_id = 0;
		p->at = p->until = 0;
		if (p->kind == RETURNER)
			p->asked = 0;
		if (p->kind == DRIVER && p->place <= 1 &&
			p->asked + sale.proof <= world.now)
		{
			p->asked = p->place = 0;	/* the round is too old */
			memset(p->answers, 0, sizeof(p->answers));
		}
		if (p->kind == DRIVER && p->place <= 1)
			memset(p->lives, 0, sizeof(p->lives));
		if (!now->fewer)
			p->begun = 0;
	}
	for (int i = 0; i < world.nmsgs; i++)
	{
		Msg		   *msg = &world.msgs[i];

		msg->at = 0;
		msg->given = mutation == CREDIT_BY_REPLY ? msg->given : 0;
		if (!now->fewer)
			msg->ask = msg->had_nothing = 0;
		if (msg->asked + sale.proof <= world.now)
			msg->asked = msg->remaining = 0;
		if (msg->kind == REPLY && msg->remaining == 0)
			msg->asked = 0;
	}
	qsort(world.msgs, (size_t) world.nmsgs, sizeof(Msg), compare_msgs);
	for (int i = 0; i < world.nmsgs; i++)
		if (!is_useless(&world.msgs[i]) &&
			(kept == 0 || memcmp(&world.msgs[i], &world.msgs[kept - 1],
								 sizeof(Msg)) != 0))
			world.msgs[kept++] = world.msgs[i];
	world.nmsgs = kept;
	while (world.nprocs > 0 && world.procs[world.nprocs - 1].kind == NO_PROC)
		world.nprocs--;
}

static void
begin_case(void)
{
	int			total = 0;

	memset(&world, 0, sizeof(World));
	memset(&sale, 0, sizeof(Sale));
	sale.exploring = true;
	sale.nodes = now->nodes;
	sale.leased = now->leased;
	sale.numbered = now->numbered;
	sale.limit = now->limit;
	sale.slots[1] = 1;
	sale.promise = sale.proof = sale.bound = sale.silence = 1;
	sale.use_percent = 100;
	for (int i = 0; i < now->nodes; i++)
		total += now->stock[i];
	for (int i = 0; i < now->nodes; i++)
	{
		make_node(i, now->stock[i], total);
		(void) add_proc(DRIVER, i);
	}
	for (int i = 0; i < now->nodes; i++)
		world.nodes[i].copy = world.nodes[i].t;
	for (const char *b = now->buyers; *b != '\0'; b += 2)
	{
		Proc	   *p = add_proc(BUYER, b[0] - '0');

		p->quantity = (uint8) (b[1] - '0');
		p->from_row = !now->leased;
		p->user = now->limit > 0;
	}
	for (const char *r = now->returns; *r != '\0'; r++)
		(void) add_proc(RETURNER, *r - '0');
	normalize();
}


/*
 * Steps
 */

/* A share worker calls, or ends its round. */
static bool
step_driver(Proc *p)
{
	Node	   *x = &world.nodes[p->node];

	if (x->t.recovering || p->place > 1)
	{
		if (x->t.recovering && p->place == 1)
			p->place = 0;
		if (p->place == 0 && p->rejoins++ == now->rejoins)
			return false;
		driver_step(p);
		return true;
	}
	if (p->node != HOME)
	{
		if (p->tries == now->pulls || x->t.row.stock > 0 || !serves(x))
			return false;
		p->tries++;
		begin_pull(p, x);
		p->place = 0;
		return true;
	}
	if (p->place == 1 && has_answers(p) && choose(2) == 0)
	{
		driver_step(p);
		return true;
	}
	if (p->tries == now->rounds || x->t.row.stock > 0 || !serves(x))
		return false;
	p->tries++;
	begin_round(p, x);
	return true;
}

static bool
step_proc(Proc *p)
{
	switch (p->kind)
	{
		case BUYER:
			buyer_step(p);
			return true;
		case RETURNER:
			returner_step(p);
			return true;
		case SERVER:
			server_step(p);
			return true;
		case DRIVER:
			return step_driver(p);
		default:
			return false;
	}
}

/* Action number i of the state; false if it cannot happen. */
static bool
act(int i)
{
	char	   *name = path[depth];

	if (i < world.nprocs)
	{
		Proc	   *p = &world.procs[i];

		snprintf(name, 48, "node %d process %d kind %d at %d", p->node, i,
				 p->kind, p->place);
		return step_proc(p);
	}
	i -= world.nprocs;
	if (i < world.nmsgs)
	{
		snprintf(name, 48, "message kind %d to node %d", world.msgs[i].kind,
				 world.msgs[i].to);
		return deliver(i);
	}
	i -= world.nmsgs;
	if (i == 0)
	{
		snprintf(name, 48, "time");
		return world.now++ < now->ticks;
	}
	if (--i < sale.nodes)
	{
		snprintf(name, 48, "node %d crashes", i);
		stop_node(&world.nodes[i], NULL);
		start_node(&world.nodes[i]);
		return world.crashes++ < now->crashes;
	}
	i -= sale.nodes;
	snprintf(name, 48, "node %d is restored", i);
	if (world.restores++ == now->restores)
		return false;
	{
		const Tables copy = world.nodes[i].copy;

		stop_node(&world.nodes[i], &copy);
		start_node(&world.nodes[i]);
	}
	return true;
}

static void
load(const World *from)
{
	memcpy(&world, from, offsetof(World, procs));
	memcpy(world.procs, from->procs, sizeof(Proc) * (size_t) from->nprocs);
}

static void
save(void)
{
	if (stack[depth] == NULL && (stack[depth] = malloc(sizeof(World))) == NULL)
		abort();
	memcpy(stack[depth], &world, offsetof(World, procs));
	memcpy(stack[depth]->procs, world.procs,
		   sizeof(Proc) * (size_t) world.nprocs);
}

/* The next combination of choices of an action; false if there is none. */
static bool
next_choices(void)
{
	while (nchoices > 0 && choices[nchoices - 1] + 1 == widths[nchoices - 1])
		nchoices--;
	if (nchoices == 0)
		return false;
	choices[nchoices - 1]++;
	return true;
}

/* Visit all states that follow the one in world; false: there are too many. */
static bool
visit(uint64 limit)
{
	int			mine = depth;
	int			actions = world.nprocs + world.nmsgs + 1 + 2 * sale.nodes;
	bool		whole = true;

	save();
	for (int i = 0; i < actions && whole; i++)
	{
		nchoices = 0;
		do
		{
			int			saved[32];
			int			widths_saved[32];
			int			nsaved;

			depth = mine;
			load(stack[mine]);
			chosen = 0;
			if (!act(i))
				continue;
			for (int k = 0; k < sale.nodes; k++)
				if (world.nodes[k].hidden && serves(&world.nodes[k]))
					world.nodes[k].hidden = false;
			check_world();
			normalize();
			if (!is_new())
				continue;
			if (nseen >= limit)
				return false;
			memcpy(saved, choices, sizeof(saved));
			memcpy(widths_saved, widths, sizeof(saved));
			nsaved = nchoices;
			depth = mine + 1;
			if (depth < DEPTH)
				whole = visit(limit);
			else
				too_deep = true;
			memcpy(choices, saved, sizeof(saved));
			memcpy(widths, widths_saved, sizeof(saved));
			nchoices = nsaved;
		} while (whole && next_choices());
	}
	return whole;
}

/* Explore a case; false: only so many of its states. */
bool
explore(int number, uint64 limit)
{
	bool		whole;

	now = &cases[number];
	for (seen_size = 1024; seen_size < 2 * limit;)
		seen_size *= 2;
	seen = calloc(seen_size, sizeof(Fingerprint));
	if (seen == NULL)
		abort();
	nseen = lost_messages = 0;
	depth = 0;
	begin_case();
	too_deep = false;
	whole = visit(limit) && lost_messages == 0 && !too_deep;
	printf("%-32s %llu states, %s\n", now->name, (unsigned long long) nseen,
		   whole ? "all" : "not all");
	fflush(stdout);
	free(seen);
	return whole;
}
