/*
 * channel_stat.c
 *		Counters of the exchanges of split items with other nodes.
 *
 * There is an element for each item and other node.  The one used least
 * recently is given to another pair, which begins at zero.  They are in shared
 * memory, and not in a table, because an exchange that fails is rolled back,
 * and one that moves no unit should write nothing.
 *
 * All of it is under one LWLock, taken once or twice for each call between
 * nodes.  Nothing here raises but for want of memory.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "shmem/channel_stat.h"

/* Pairs of an item and another node that one server counts at a time. */
#define CHANNELS	1024

typedef struct Channel
{
	Oid			dbid;			/* InvalidOid: not in use */
	Oid			items;			/* OID of seckill.items */
	ClockTime	used;
	ChannelCounts counts;
} Channel;

typedef struct Channels
{
	LWLock	   *lock;
	Channel		channels[CHANNELS];
} Channels;

static Channels *channels = NULL;

static void
request(void)
{
	seckill_shmem_struct("seckill channels", sizeof(Channels), (void **) &channels);
}

static void
init(void)
{
	memset(channels, 0, sizeof(Channels));
	channels->lock = seckill_shmem_lock(&seckill_channel_shmem);
}

const SeckillShmem seckill_channel_shmem = {
	.tranche = "seckill_channels",
	.request = request,
	.init = init
};

/* Return the element of a pair, a new one if it has none.  Under the lock. */
static Channel *
get(Oid items, int64 item_id, int32 peer)
{
	Channel    *oldest = &channels->channels[0];

	for (int i = 0; i < CHANNELS; i++)
	{
		Channel    *c = &channels->channels[i];

		if (c->counts.item_id == item_id && c->counts.peer == peer &&
			c->items == items && c->dbid == MyDatabaseId)
			return c;
		if (c->used < oldest->used)
			oldest = c;
	}
	memset(oldest, 0, sizeof(*oldest));
	oldest->dbid = MyDatabaseId;
	oldest->items = items;
	oldest->counts.item_id = item_id;
	oldest->counts.peer = peer;
	return oldest;
}

/* Count a call between this node and another one. */
void
seckill_channel_stat_add(Oid items, int64 item_id, int32 peer,
						 const ChannelCall *call)
{
	TimestampTz now = GetCurrentTimestamp();
	Channel    *c;

	if (channels == NULL)
		return;
	LWLockAcquire(channels->lock, LW_EXCLUSIVE);
	c = get(items, item_id, peer);
	c->used = seckill_clock();
	c->counts.rounds += call->is_round;
	c->counts.asks += !call->is_round;
	c->counts.grants += call->granted;
	if (call->succeeded)
		c->counts.last_success = now;
	if (call->error != NULL)
	{
		int			length = pg_mbcliplen(call->error, (int) strlen(call->error),
										  CHANNEL_MESSAGE - 1);

		c->counts.failures++;
		c->counts.last_failure = now;
		memcpy(c->counts.last_error, call->error, length);
		c->counts.last_error[length] = '\0';
	}
	LWLockRelease(channels->lock);
}

/*
 * List the counters of this database, in a palloc'd array; returns their
 * number.
 */
int
seckill_channel_stat_list(Oid items, ChannelCounts **list)
{
	int			n = 0;

	if (channels == NULL)
		return 0;
	*list = palloc(CHANNELS * sizeof(ChannelCounts));
	LWLockAcquire(channels->lock, LW_SHARED);
	for (int i = 0; i < CHANNELS; i++)
		if (channels->channels[i].dbid == MyDatabaseId &&
			channels->channels[i].items == items)
			(*list)[n++] = channels->channels[i].counts;
	LWLockRelease(channels->lock);
	return n;
}
