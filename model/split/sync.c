/*
 * sync.c
 *		The transactions that move units between nodes, and prove sold_out.
 *
 * seckill_sync() runs on the giver and has the steps 1 to 6; sync_apply() is
 * what the caller does with the reply.  A channel has two totals at each end.
 * Totals only grow, so a message that is lost, late or repeated changes
 * nothing that it should not.
 *
 * A channel of a numbered item is a stream: a total is a position in it.  The
 * giver keeps the numbers that it has given last until the peer's total tells
 * that they have arrived, and gives no others before.  So a message has either
 * nothing new for the receiver or just these numbers.
 */
#include <string.h>

#include "share.h"
#include "sync.h"
#include "world.h"

Served		served;

static int32
max32(int32 a, int32 b)
{
	return a > b ? a : b;
}

static int64
max64(int64 a, int64 b)
{
	return a > b ? a : b;
}

/* A call to the peer that tells the totals of x. */
Msg
make_call(Node *x, int peer, int kind)
{
	const Channel *channel = &x->t.channels[peer];
	Msg			call;

	memset(&call, 0, sizeof(Msg));
	call.kind = (uint8) kind;
	call.from = (uint8) node_number(x);
	call.to = (uint8) peer;
	call.incarnation = x->t.incarnation;
	call.sent = channel->sent;
	call.received = channel->received;
	call.known = channel->incarnation;
	call.asked = node_clock(x);
	call.had_nothing = nothing_here(x);
	return call;
}

/* The reply to a call, without an answer yet. */
static void
begin_reply(const Msg *call, int kind, Msg *reply)
{
	memset(reply, 0, sizeof(Msg));
	reply->kind = (uint8) kind;
	reply->from = call->to;
	reply->to = call->from;
	reply->driver = call->driver;
	reply->serial = call->serial;
	reply->ask = call->ask;
	reply->asked = call->asked;
	reply->had_nothing = call->had_nothing;
	reply->slow = call->slow;
}

static void
tell_totals(const Node *x, Msg *reply)
{
	const Channel *channel = &x->t.channels[reply->to];

	reply->incarnation = x->t.incarnation;
	reply->sent = channel->sent;
	reply->received = channel->received;
	reply->transit = channel->transit;
	reply->recovering = x->t.recovering != 0;
	reply->no_users = x == &world.nodes[HOME] && channel->no_users;
}

/*
 * Does a message bring units to home while it has proved that all are there?
 * Then its sender was left out.  They come in when the proof is over.
 */
static bool
is_too_early(const Node *x, const Msg *msg)
{
	return x == &world.nodes[HOME] && node_clock(x) < x->m.home_until &&
		msg->sent > x->t.channels[msg->from].received;
}

/*
 * Compare a message with what x knows of its sender.  False: it is of a former
 * life of the peer, or shows that x itself is a former life.
 */
static bool
same_lives(Node *x, const Msg *msg)
{
	Tables	   *t = &x->t;
	Channel    *channel = &t->channels[msg->from];

	if (mutation == INCARNATION_EXACT &&
		msg->incarnation != channel->incarnation)
		return false;
	if (msg->incarnation < channel->incarnation &&
		mutation != OLD_INCARNATION)
		return false;
	channel->incarnation = max32(channel->incarnation, msg->incarnation);
	if (t->recovering)
		return false;
	if (msg->received > channel->sent && mutation != NO_REJOIN)
	{
		t->recovering = true;	/* x has forgotten what it has sent */
		return false;
	}
	return true;
}

/* The peer knows a higher incarnation of this node: a rejoin did not end. */
static void
hear_of_own(Tables *t, const Msg *msg)
{
	if (msg->known > t->incarnation && mutation != REJOIN_ONCE)
		t->recovering = true;
}

/* Take in what the peer has sent, up to the total that the message tells. */
static void
take_in(Node *x, const Msg *msg)
{
	Tables	   *t = &x->t;
	Channel    *channel = &t->channels[msg->from];
	int32		units = msg->sent - channel->received;

	if (mutation == CREDIT_BY_REPLY && msg->kind == REPLY)
		units = msg->given;
	if (msg->received == channel->sent)
		channel->transit = 0;	/* all has arrived */
	if (sale.numbered && msg->kind == CALL)
		return;					/* it does not tell which: the node will ask */
	if (units <= 0 &&
		(mutation != TAKE_WITHOUT_TOTAL || msg->transit == 0))
		return;
	if (units > 0)
	{
		t->row.stock += units;
		channel->received += units;
	}
	if (!sale.numbered)
		return;
	if (set_count(msg->transit) != units && mutation == SOUND)
		broken("a message has more or fewer numbers than units", x);
	t->free |= msg->transit;
	if (x == &world.nodes[HOME])
		channel->numbers &= ~msg->transit;
	else
		channel->numbers |= msg->transit;
}

/* Is there a waiting buyer that the share of a satellite suffices for? */
static bool
serves_own(const Node *x)
{
	int32		units = x->t.row.stock + x->m.c.held;

	for (int i = 0; i < world.nprocs; i++)
		if (world.procs[i].kind == BUYER && world.procs[i].asking &&
			world.procs[i].node == node_number(x) &&
			world.procs[i].quantity <= units)
			return true;
	return false;
}

static bool
is_gathering(void)
{
	for (int i = 0; i < world.nprocs; i++)
		if (world.procs[i].kind == SETTER)
			return true;
	return false;
}

/* How many units the call gets. */
static int32
units_to_give(const Node *x, const Msg *call)
{
	const Channel *channel = &x->t.channels[call->from];
	int32		stock = x->t.row.stock;
	int32		lacks = call->received + call->wanted - channel->sent;
	int32		least = call->received + call->at_least - channel->sent;
	int32		spare = stock / (2 * sale.nodes);

	if (sale.numbered && call->received != channel->sent &&
		mutation != GIVE_UNCONFIRMED)
		return 0;
	if (x != &world.nodes[HOME])
		return serves_own(x) ? 0 : (stock + 1) / 2;
	if (call->wanted == 0 || lacks <= 0 || is_gathering() || channel->no_users)
		return 0;
	if (stock >= lacks)
		return lacks > spare ? lacks : spare;
	return stock >= least && least > 0 ? stock : 0;
}

static void
give(Node *x, const Msg *call, Msg *reply)
{
	Tables	   *t = &x->t;
	Channel    *channel = &t->channels[call->from];
	int32		units = units_to_give(x, call);

	if (units == 0)
		return;
	channel->transit = take_from_row(t, units);
	if (mutation == DEBIT_LATE)
		t->row.stock += units;
	if (x == &world.nodes[HOME])
		channel->numbers |= channel->transit;
	else
		channel->numbers &= ~channel->transit;
	channel->sent += units;
	reply->given = units;
	if (x == &world.nodes[HOME] && mutation != GRANT_KEEPS_HOME &&
		mutation != PROVE_UNLOCKED)
		x->m.home_until = 0;
}

/* Is a return under way, or marked as wanted?  Then nothing is promised. */
static bool
return_wanted(const Node *x)
{
	return (has_gate(x) && mutation != GATE_OPEN) ||
		x->m.marked > node_clock(x);
}

/* A satellite that has no unit promises that none appears for a while. */
static void
judge_satellite(Node *x, Msg *reply)
{
	int64		now = node_clock(x);
	bool		none = nothing_here(x);

	if (mutation == IGNORE_HELD)
		none = x->t.row.stock + x->m.c.avail == 0;
	if (mutation == NONE_WITH_CACHE)
		none = x->t.row.stock == 0;
	if (return_wanted(x))
		none = false;
	reply->none = none;
	if (none && mutation != NO_PROMISE)
		x->m.promised = max64(x->m.promised, now + sale.promise);
}

/*
 * While everything is home, home can tell what there is anywhere: nothing, for
 * as long as it promises itself, or fewer units than the caller needs.
 */
static void
judge_home(Node *x, const Msg *call, Msg *reply)
{
	Memory	   *m = &x->m;
	int64		now = node_clock(x);

	if (call->wanted > 0 && reply->given == 0)
	{
		m->wants[call->from] = call->at_least;
		m->wants_until[call->from] = now + 2 * sale.promise;
	}
	if (now >= m->home_until || reply->given > 0 || return_wanted(x))
	{
		m->renew = now + 2 * sale.promise;
		return;
	}
	if (nothing_here(x))
	{
		reply->remaining = m->home_until - now;
		if (mutation != HOME_UNBOUND)
			m->promised = max64(m->promised, m->home_until - sale.proof +
								sale.bound);
	}
	else if (call->wanted > 0 && unsold(&x->t) < call->at_least)
		reply->fewer = call->at_least;
}

/*
 * seckill_sync() on the giver, for the call that the server process works on.
 * The process has locked the row and recalled the cache.
 */
void
sync_serve(Node *x, Proc *server, Msg *reply)
{
	const Msg  *call = &server->call;
	Tables	   *t = change(x);
	Channel    *channel = &t->channels[call->from];

	begin_reply(call, REPLY, reply);
	give_up_lease(x, server);
	if (node_clock(x) < x->m.opens)
		return;
	if (!same_lives(x, call))
	{
		reply->known = channel->incarnation;
		return;
	}
	if (mutation != LEFT_OUT_FOR_EVER)
		channel->left_out = 0;	/* it is back */
	if (is_too_early(x, call))
	{
		reply->ok = true;
		tell_totals(x, reply);
		return;
	}
	take_in(x, call);
	give(x, call, reply);
	if (x == &world.nodes[HOME])
		judge_home(x, call, reply);
	else
		judge_satellite(x, reply);
	reply->ok = true;
	tell_totals(x, reply);
	served.node = node_number(x);
	served.given = reply->given > 0;
	served.promised = reply->none;
}

/*
 * What the caller does with the reply, in one transaction, with the row
 * locked.  False: the reply is of no use.
 */
bool
sync_apply(Node *x, const Msg *reply)
{
	Memory	   *m = &x->m;
	Tables	   *t;
	int64		start = mutation == CERTIFICATE_FROM_ARRIVAL ?
		node_clock(x) : reply->asked;
	int			percent = mutation == SLOW_CLOCK ? 250 : sale.use_percent;

	t = change(x);
	if (!reply->ok)
	{
		hear_of_own(t, reply);
		return false;
	}
	if (!same_lives(x, reply) || is_too_early(x, reply))
		return false;
	take_in(x, reply);
	if (x == &world.nodes[HOME])
		return true;
	t->channels[HOME].no_users = reply->no_users;
	if (reply->remaining > 0)
	{
		m->certificate = max64(m->certificate,
							   start + reply->remaining * percent / 100);
		if (nothing_here(x))
		{
			m->fewer_ask = reply->ask;
			m->fewer_units = 1;
		}
	}
	if (reply->fewer > 0 && reply->had_nothing && nothing_here(x))
	{
		m->fewer_ask = reply->ask;
		m->fewer_units = reply->fewer;
	}
	return true;
}

/* Do both ends of a channel say that nothing is in transit? */
bool
totals_agree(const Channel *channel, const Msg *answer)
{
	return channel->sent == answer->received &&
		channel->received == answer->sent;
}

/*
 * The end of a round of home: is everything here?  The answers of all
 * satellites have been applied.  The row is locked, so that no grant is between
 * its decision and its commit.
 */
void
sync_prove(Node *x, const Proc *driver)
{
	Memory	   *m = &x->m;
	int64		until = driver->asked + sale.proof;

	for (int s = 1; s < sale.nodes; s++)
	{
		const Msg  *answer = &driver->answers[s];
		const Channel *channel = &x->t.channels[s];

		if (answer->unasked && channel->left_out)
			continue;
		if (!answer->ok || !answer->none)
			return;
		if (!totals_agree(channel, answer) && mutation != IGNORE_TRANSIT &&
			mutation != PROVE_BY_ANSWER)
			return;
	}
	if (node_clock(x) >= until || x->t.recovering)
		return;
	m->home_until = until;
	if (!nothing_here(x) ||
		(return_wanted(x) && mutation != MARK_AND_PROVE))
		return;
	m->certificate = until;
	if (mutation != HOME_UNBOUND)
		m->promised = max64(m->promised, driver->asked + sale.bound);
}

/*
 * seckill_hello(): a node that was restored tells its new incarnation, and
 * asks for the totals.  Incarnation 0 only asks which one is known.
 */
void
sync_hello(Node *x, const Msg *call, Msg *reply)
{
	Tables	   *t = change(x);
	Channel    *channel = &t->channels[call->from];

	begin_reply(call, HELLO_REPLY, reply);
	reply->known = channel->incarnation;
	hear_of_own(t, call);
	if (call->incarnation != 0)
	{
		if (call->incarnation < channel->incarnation)
			return;
		if (sale.numbered && x == &world.nodes[HOME] && t->recovering &&
			mutation != REJOIN_BEFORE_HOME)
			return;				/* home does not know yet whose they are */
		channel->incarnation = call->incarnation;
		if (mutation != LEFT_OUT_FOR_EVER)
			channel->left_out = 0;
	}
	reply->ok = true;
	tell_totals(x, reply);
	reply->numbers = channel->numbers;
	reply->kept = channel->numbers & ~t->free;
}

/*
 * A restored node: orders with numbers that other nodes have had ended in the
 * part that is lost, as a number leaves a node only when no order has it.
 */
static void
drop_numbers(Tables *t, NumberSet others)
{
	for (int i = 0; i < t->norders; i++)
	{
		Order	   *order = &t->orders[i];

		if ((order->numbers & others) == 0)
			continue;
		if (order->state == LIVE)
		{
			order->state = DEAD;
			order->numbers = 0;
		}
		order->numbers &= ~others;
	}
}

/*
 * Home is restored: which numbers do its satellites have?  Those that answered
 * while they were recovering themselves give way to the others, and to the
 * orders and withdrawn numbers of home: they will ask home for their share.  Among them, what one has
 * sold or leased goes before what another has on its row.
 */
static NumberSet
numbers_of_satellites(Tables *t, const Proc *driver)
{
	NumberSet	others = 0;
	NumberSet	own = kept_numbers(t) | t->off_sale;

	for (int turn = 0; turn < 3; turn++)
		for (int s = 1; s < sale.nodes; s++)
		{
			const Msg  *answer = &driver->answers[s];
			Channel    *channel = &t->channels[s];

			if (answer->recovering != (turn > 0))
				continue;
			if (turn == 0)
				channel->numbers = answer->numbers;
			else if (turn == 1)
				channel->numbers = answer->kept & ~others & ~own;
			else
				channel->numbers |= answer->numbers & ~others & ~own;
			if (answer->recovering || channel->sent <= answer->received ||
				mutation == REJOIN_FORGETS_TRANSIT)
				channel->transit = 0;
			channel->numbers |= channel->transit;
			others |= channel->numbers;
		}
	return others;
}

/*
 * The numbers of a restored node.  Those of a satellite are what home says;
 * those of home are all that no satellite has.
 */
static void
rejoin_numbers(Node *x, const Proc *driver)
{
	Tables	   *t = &x->t;
	const Msg  *answer = &driver->answers[HOME];
	Channel    *channel = &t->channels[HOME];
	NumberSet	others;

	if (x == &world.nodes[HOME])
	{
		others = numbers_of_satellites(t, driver);
		t->known |= others;
	}
	else
	{
		if (channel->sent <= answer->received)
			channel->transit = 0;
		channel->numbers = answer->numbers & ~channel->transit;
		others = ~channel->numbers;
	}
	drop_numbers(t, others);
	t->free = share_numbers(x) & ~kept_numbers(t);
	t->row.stock = set_count(t->free);
}

/* What the books lack after a rejoin. */
static int32
books_lack(const Tables *t)
{
	int32		units = t->row.stock + live_units(t) - t->supplied;

	for (int i = 0; i < sale.nodes; i++)
		units -= t->channels[i].received - t->channels[i].sent;
	return units;
}

/*
 * Has a peer begun a new life since it was asked?  It may have answered in a
 * former one.  One that began before, and is still recovering, is no obstacle:
 * two of them would wait for each other.
 */
static bool
is_stale(const Tables *t, const Proc *driver)
{
	for (int peer = 0; peer < sale.nodes; peer++)
		if (driver->answers[peer].ok &&
			t->channels[peer].incarnation >
			max32(driver->answers[peer].incarnation, driver->lives[peer]))
			return true;
	return false;
}

/*
 * A restored node adjusts its totals to what its peers know, in one
 * transaction, with the row locked.  False: other transactions still hold
 * units.  True: it has, or the driver has to begin again.
 *
 * Order ids that former lives have used since the last id in the copy, be they
 * several lives, are fewer than the milliseconds since then.
 */
bool
sync_rejoin(Node *x, Proc *driver, int32 incarnation)
{
	Tables	   *t = change(x);

	if ((!t->recovering || incarnation <= t->incarnation) &&
		mutation != REJOIN_TWICE)
		return true;			/* another driver has done it */
	if (is_stale(t, driver) && mutation != REJOIN_STALE)
		return true;			/* to begin again */
	(void) take_units(x, driver, x->m.c.avail, x->m.c.avail);
	give_up_lease(x, driver);
	if (x->m.c.held > 0 && mutation != REJOIN_WITH_HOLDERS)
		return false;
	for (int peer = 0; peer < sale.nodes; peer++)
	{
		const Msg  *answer = &driver->answers[peer];
		Channel    *channel = &t->channels[peer];

		if (!answer->ok)
			continue;
		channel->incarnation = max32(channel->incarnation,
									 answer->incarnation);
		t->row.stock -= max32(answer->received - channel->sent, 0);
		channel->sent = max32(channel->sent, answer->received);
		t->row.stock += max32(answer->sent - channel->received, 0);
		channel->received = max32(channel->received, answer->sent);
	}
	if (x != &world.nodes[HOME])
		t->channels[HOME].no_users = driver->answers[HOME].no_users;
	if (sale.numbered && mutation != REJOIN_KEEPS_NUMBERS)
		rejoin_numbers(x, driver);
	t->row.stock = max32(t->row.stock, 0);
	t->shortfall = books_lack(t);
	t->incarnation = incarnation;
	if (mutation != IDS_AGAIN)
		t->next_id += 100;
	if (mutation != IDS_AGAIN && mutation != IDS_FROM_COPY)
		t->next_id += (int32) ((node_clock(x) - t->numbered_at) / 1000);
	t->numbered_at = sale.exploring ? 0 : node_clock(x);
	t->recovering = false;
	return true;
}
