/*
 * share_state.h
 *		Shares: what this node promises, knows and wants of the items that are
 *		split over nodes.
 */
#ifndef SECKILL_SHMEM_SHARE_STATE_H
#define SECKILL_SHMEM_SHARE_STATE_H

#include "base/clock.h"
#include "base/shmem.h"
#include "seckill.h"

/*
 * How long a node promises that no unit appears in its share.  The same on all
 * nodes.  A round over the nodes must be shorter, and units that come back
 * while the item is sold out everywhere wait for up to that long.
 */
#define SHARE_PROMISE	USECS(200)

/*
 * The part of a promise of another node that counts here: the clocks of two
 * nodes run at rates that differ by 5 % at most.
 */
#define SHARE_COUNTED(duration)	((duration) / 10 * 9)

/* What is known of a share, as of one moment. */
typedef struct ShareView
{
	ClockTime	silent_until;	/* this node may not sell before */
	bool		greeted;		/* nor before an ask has ended ... */
	ClockTime	greet_until;	/* ... or this has passed */
	ClockTime	bound_until;	/* no unit may appear here before */
	ClockTime	proved_since;	/* all units are at home, as was proved then */
	ClockTime	proved_until;	/* and it counts until then */
	ClockTime	certified_until;	/* sold out on all nodes until then */
	uint64		answered;		/* number of the last ask that has ended */
	ClockTime	reach_since;	/* when the last ask began that has found out */
	int32		reach;			/* how many units there are on all nodes */
	bool		failed;			/* did the last ask fail? */
	ClockTime	keep_until;		/* home sends no units before */
} ShareView;

/* An ask: one exchange of the share worker with the other nodes. */
typedef struct ShareAsk
{
	int64		item_id;
	uint64		number;
	ClockTime	began;
	int64		wanted;			/* units that buyers wait for */
	int32		smallest;		/* the fewest that one of them waits for */
	bool		failed;
	bool		vague;			/* it has to be repeated: a lock was missing */
	int32		reach;			/* units on all nodes; -1: not known */
} ShareAsk;

extern const SeckillShmem seckill_share_shmem;
extern void seckill_share_check_preloaded(void);
extern void seckill_share_read(Oid items, int64 item_id, ShareView *view);
extern bool seckill_share_make_promise(Oid items, int64 item_id, ClockTime until);
extern void seckill_share_set_proof(Oid items, int64 item_id, ClockTime until);
extern void seckill_share_set_certified(Oid items, int64 item_id, ClockTime until);
extern void seckill_share_set_keep(Oid items, int64 item_id, ClockTime until);
extern uint64 seckill_share_add_want(Oid items, int64 item_id, int64 units, int32 smallest);
extern int32 seckill_share_smallest(Oid items, int64 item_id);
extern bool seckill_share_await(Oid items, int64 item_id, uint64 ask, ClockTime until);
extern void seckill_share_drop_database(Oid dbid);

/* the share worker's side */
extern bool seckill_share_claim(Oid dbid);
extern void seckill_share_release(void);
extern bool seckill_share_retire(Oid items);
extern bool seckill_share_begin_ask(Oid items, ShareAsk *ask, int64 *delay);
extern void seckill_share_end_ask(Oid items, const ShareAsk *ask);

#endif							/* SECKILL_SHMEM_SHARE_STATE_H */
