/*
 * driver.c
 *		The share workers, which move units, and the calls that they make.
 *
 * The receiver drives: a satellite pulls from home, home calls all satellites
 * in a round.  A node may have two drivers.
 */
#include <string.h>

#include "../chance.h"
#include "driver.h"
#include "network.h"
#include "share.h"
#include "sync.h"
#include "world.h"

#define MS		1000

enum
{
	DRIVER_IDLE,
	DRIVER_WAIT,				/* for replies to sync */
	DRIVER_ASK,					/* restored: wait for known incarnations */
	DRIVER_HELLO				/* restored: wait for totals */
};

uint64		calls;
uint64		rounds;
uint64		transfers;

static int32 last_serial;

/* Call the peers: home all satellites, a satellite home. */
static void
call_peers(Proc *p, Node *x, int kind, int32 incarnation, int32 wanted,
		   int32 at_least)
{
	int			first = p->node == HOME ? 1 : HOME;
	int			last = p->node == HOME ? sale.nodes - 1 : HOME;

	bool		slow = faults && one_in(10);

	memset(p->answers, 0, sizeof(p->answers));
	if (!sale.exploring)
		p->serial = ++last_serial;
	else if (kind == HELLO || p->node == HOME)
		p->serial++;
	if (kind == CALL)
		x->m.asks += p->node != HOME;
	for (int peer = first; peer <= last; peer++)
	{
		Msg			call = make_call(x, peer, kind);

		if (kind == CALL && x->t.channels[peer].left_out)
		{
			p->answers[peer].kind = REPLY;
			p->answers[peer].ok = p->answers[peer].unasked = true;
			continue;
		}
		if (kind == HELLO)
			call.incarnation = incarnation;
		call.driver = (uint8) proc_number(p);
		call.serial = p->serial;
		call.ask = x->m.asks;
		call.wanted = wanted;
		call.at_least = at_least;
		call.slow = slow;
		send_msg(&call);
		calls++;
	}
	p->until = world.now + (slow ? 500 : 60) * MS;
}

/* Have all peers answered, whatever they said? */
bool
has_answers(const Proc *p)
{
	int			n = 0;

	for (int i = 0; i < sale.nodes; i++)
		n += p->answers[i].kind != NO_MSG;
	return n == (p->node == HOME ? sale.nodes - 1 : 1);
}

static bool
all_ok(const Proc *p)
{
	int			n = 0;

	for (int i = 0; i < sale.nodes; i++)
		n += p->answers[i].ok;
	return n == (p->node == HOME ? sale.nodes - 1 : 1);
}

/* Home calls all satellites. */
void
begin_round(Proc *p, Node *x)
{
	rounds++;
	p->asked = node_clock(x);
	call_peers(p, x, CALL, 0, 0, 0);
	p->place = DRIVER_WAIT;
}

/*
 * A satellite pulls what its waiting buyers lack: all of it is wanted, the
 * least of it would help one of them.
 */
void
begin_pull(Proc *p, Node *x)
{
	int32		wanted = 0;
	int32		least = 0;
	int32		own = x->t.row.stock + x->m.c.avail;

	for (int i = 0; i < world.nprocs; i++)
	{
		const Proc *q = &world.procs[i];

		if (q->kind != BUYER || !q->asking || q->node != p->node ||
			q->quantity <= own)
			continue;
		wanted += q->quantity;
		if (least == 0 || q->quantity < least)
			least = q->quantity;
	}
	least = least > own ? least - own : least;
	call_peers(p, x, CALL, 0, wanted, least);
	p->place = DRIVER_WAIT;
}

/* The most units that a buyer of the node waits for; 0: nobody waits. */
static int32
most_wanted(const Node *x)
{
	int32		most = 0;

	for (int i = 0; i < world.nprocs; i++)
	{
		const Proc *q = &world.procs[i];

		if (q->kind == BUYER && q->asking && q->node == node_number(x) &&
			q->quantity > most)
			most = q->quantity;
	}
	for (int s = 1; s < sale.nodes && x == &world.nodes[HOME]; s++)
		if (x->m.wants_until[s] > node_clock(x) && x->m.wants[s] > most)
			most = x->m.wants[s];
	return most;
}

static void
idle(Proc *p, Node *x)
{
	int32		most = most_wanted(x);
	int64		now = node_clock(x);
	bool		is_short = most > x->t.row.stock + x->m.c.avail;

	if (x->t.recovering)
	{
		call_peers(p, x, HELLO, 0, 0, 0);
		p->place = DRIVER_ASK;
	}
	else if (!serves(x))
		sleep_for(p, 5 * MS);
	else if (p->node != HOME && (most > 0 || x->m.renew > now || one_in(10)))
		begin_pull(p, x);
	else if (p->node == HOME && (is_short || x->m.renew > now) &&
			 (now >= x->m.home_until - sale.promise / 3 || most > 1))
		begin_round(p, x);
	else
		sleep_for(p, 5 * MS);
}

/*
 * Restored: tell all peers an incarnation above all that they know.  They may
 * have forgotten some, so it is of the clock, too.
 */
static void
say_hello(Proc *p, Node *x)
{
	int32		clock = (int32) (node_clock(x) / 1000);

	p->known = x->t.incarnation;
	for (int i = 0; i < sale.nodes; i++)
		if (p->answers[i].known > p->known)
			p->known = p->answers[i].known;
	p->known++;
	if (p->known < clock && mutation != INCARNATION_AGAIN)
		p->known = clock;
	for (int i = 0; i < sale.nodes; i++)
		p->lives[i] = x->t.channels[i].incarnation;
	call_peers(p, x, HELLO, p->known, 0, 0);
	p->place = DRIVER_HELLO;
}

static void
end_rejoin(Proc *p, Node *x)
{
	if (!try_row(x, p))
		return;
	if (sync_rejoin(x, p, p->known))
		p->place = DRIVER_IDLE;
	free_row(x);
}

/* All peers have answered. */
static void
go_on(Proc *p, Node *x)
{
	switch (p->place)
	{
		case DRIVER_WAIT:
			if (p->node == HOME && !try_row(x, p) &&
				mutation != PROVE_UNLOCKED)
				return;
			if (p->node == HOME)
				sync_prove(x, p);
			if (x->m.row_owner == proc_number(p))
				free_row(x);
			p->place = DRIVER_IDLE;
			break;
		case DRIVER_ASK:
			say_hello(p, x);
			break;
		case DRIVER_HELLO:
			end_rejoin(p, x);
			break;
	}
}

/* One step of a share worker, in a random run. */
void
driver_step(Proc *p)
{
	Node	   *x = &world.nodes[p->node];

	if (mutation == NO_REJOIN)
		x->t.recovering = false;
	if (p->place == DRIVER_IDLE)
		idle(p, x);
	else if (all_ok(p) || (has_answers(p) && p->place == DRIVER_WAIT))
		go_on(p, x);
	else if (world.now > p->until || has_answers(p))
	{
		p->place = DRIVER_IDLE;
		sleep_for(p, 10 * MS);
	}
	else
		sleep_for(p, MS);
}

/*
 * seckill_sync() on the giver, in two steps: it locks the row and recalls the
 * cache; then it commits and replies.
 */
void
server_step(Proc *p)
{
	Node	   *x = &world.nodes[p->node];
	Msg			reply;

	if (p->place == 0)
	{
		if (!try_row(x, p))
		{
			if (world.now > p->until)
				p->kind = NO_PROC;	/* an error: asked again */
			return;
		}
		p->place = 1;
		if (mutation == PROVE_UNLOCKED && p->call.wanted > 0)
			x->m.home_until = 0;
		if (mutation != NONE_WITH_CACHE)
			(void) take_units(x, p, x->m.c.avail, x->m.c.avail);
		return;
	}
	if (x->t.recovering)
	{
		memset(&reply, 0, sizeof(Msg));
		return_units(x, p);
	}
	else
		sync_serve(x, p, &reply);
	free_row(x);
	if (reply.kind != NO_MSG && !p->call.mute)
		send_msg(&reply);
	transfers += reply.given > 0;
	p->kind = NO_PROC;
}

/* A reply reaches the driver, if it still waits for it. */
static void
deliver_reply(const Msg *reply)
{
	Node	   *x = &world.nodes[reply->to];
	Proc	   *p = &world.procs[reply->driver];
	bool		waits = p->kind == DRIVER && p->node == reply->to &&
		p->serial == reply->serial;
	bool		ok = reply->ok;

	if (!waits && !sale.exploring)
		return;
	if (reply->kind == REPLY)
		ok = sync_apply(x, reply);
	if (!waits)
		return;
	p->answers[reply->from] = *reply;
	p->answers[reply->from].ok = ok;
	if (mutation == PROVE_BY_ANSWER && reply->kind == REPLY &&
		!totals_agree(&x->t.channels[reply->from], reply))
		p->answers[reply->from].ok = false;
}

/* A call reaches a node. */
static bool
deliver_call(const Msg *call)
{
	Proc	   *p = add_proc(SERVER, call->to);

	if (p == NULL)
		return false;
	p->call = *call;
	p->until = world.now + 50 * MS;
	if (sale.exploring)
		server_step(p);
	if (sale.exploring && !sale.leased)
		server_step(p);
	return true;
}

/*
 * Message i arrives.  False: it has to wait, since the row is locked.
 */
bool
deliver(int i)
{
	Msg			msg = world.msgs[i];
	Node	   *x = &world.nodes[msg.to];
	Msg			reply;

	if (x->up && x->m.row_owner != NOBODY &&
		(msg.kind == REPLY || msg.kind == HELLO || (msg.kind == CALL && sale.exploring)))
		return false;
	drop_msg(i);
	if (!x->up)
		return true;
	if (msg.kind == HELLO)
	{
		sync_hello(x, &msg, &reply);
		if (!msg.mute)
			send_msg(&reply);
	}
	else if (msg.kind == CALL)
		return deliver_call(&msg);
	else
		deliver_reply(&msg);
	return true;
}
