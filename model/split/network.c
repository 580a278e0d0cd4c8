/*
 * network.c
 *		Messages between nodes.
 *
 * In a random run a call can be lost, run and its reply be lost, run twice or
 * late; or the reply is late.  In an exhaustive run the network forgets
 * nothing: a message can arrive at any time, any number of times, or never.
 */
#include <string.h>

#include "../chance.h"
#include "network.h"
#include "world.h"

#define MS		1000			/* times are in microseconds */

bool		faults;
uint64		lost_messages;

/* How long a step takes; at times the process or its machine stands still. */
int64
pause(void)
{
	if (faults && one_in(100))
		return (50 + below(250)) * MS;
	return one_in(10) ? below(20 * MS) : below(3 * MS);
}

static void
add_msg(const Msg *msg, int64 delay)
{
	if (world.nmsgs == MSGS)
		return;					/* lost */
	world.msgs[world.nmsgs] = *msg;
	world.msgs[world.nmsgs++].at = world.now + delay;
}

/* Add to the set of messages, which is ordered. */
static void
add_to_set(const Msg *msg)
{
	int			i = 0;

	while (i < world.nmsgs && memcmp(&world.msgs[i], msg, sizeof(Msg)) < 0)
		i++;
	if (i < world.nmsgs && memcmp(&world.msgs[i], msg, sizeof(Msg)) == 0)
		return;
	if (world.nmsgs == MSGS)
	{
		lost_messages++;		/* the run does not reach all states */
		return;
	}
	memmove(&world.msgs[i + 1], &world.msgs[i],
			sizeof(Msg) * (size_t) (world.nmsgs - i));
	world.msgs[i] = *msg;
	world.nmsgs++;
}

static void
send_call(Msg call)
{
	int			fate = faults ? below(20) : 20;
	bool		late = faults && one_in(10);

	call.mute = fate == 1;
	if (fate <= 1)
		lost_messages++;
	if (fate >= 1)
		add_msg(&call, late ? below(400 * MS) : pause());
	if (fate == 2)
		add_msg(&call, pause());
}

void
send_msg(const Msg *msg)
{
	if (sale.exploring)
		add_to_set(msg);
	else if (msg->kind == CALL || msg->kind == HELLO)
		send_call(*msg);
	else
		add_msg(msg, msg->slow ? (50 + below(400)) * MS : pause());
}

/* The message has arrived. */
void
drop_msg(int i)
{
	if (!sale.exploring)
		world.msgs[i] = world.msgs[--world.nmsgs];
}
