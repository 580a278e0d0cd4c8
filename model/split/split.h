/*
 * split.h
 *		Types that all files of the model of a split sale share.
 */
#ifndef SPLIT_H
#define SPLIT_H

#include "../sets.h"

typedef struct ItemRow
{
	int32		stock;
	int32		leased;
	int64		lease_id;		/* 0: none */
	bool		mine;
} ItemRow;

#include "../../src/shmem/counters.h"

#define NODES		4
#define HOME		0
#define ORDERS		48			/* of a node */
#define PROCS		48
#define CLIENTS		32			/* processes that are not of share workers */
#define MSGS		40
#define USERS		6
#define REQUESTS	12
#define NOBODY		(-1)

/* Ways to break the protocol; split_model.c describes each for --list. */
typedef enum Mutation
{
	SOUND,
	CREDIT_BY_REPLY,
	DEBIT_LATE,
	NOT_ASKING,
	NO_PROMISE,
	IGNORE_HELD,
	IGNORE_TRANSIT,
	PROVE_BY_ANSWER,
	PROVE_UNLOCKED,
	VERDICT_FIRST,
	OLD_INCARNATION,
	NO_REJOIN,
	GRANT_KEEPS_HOME,
	HOME_UNBOUND,
	SLOW_CLOCK,
	REJOIN_ONCE,
	REJOIN_TWICE,
	REJOIN_STALE,
	INCARNATION_EXACT,
	NO_BOOT_WAIT,
	GATE_OPEN,
	CERTIFICATE_FROM_ARRIVAL,
	FEWER_OF_OLD_ASK,
	RETURN_IGNORES_PROMISE,
	GATE_LATE,
	MARK_IGNORED,
	MARK_AND_PROVE,
	IDS_AGAIN,
	IDS_FROM_COPY,
	INCARNATION_AGAIN,
	OWNER_UNCHECKED,
	USER_UNLOCKED,
	REQUEST_UNLOCKED,
	REFUSED_BEFORE_REQUEST,
	NONE_WITH_CACHE,
	NONE_WITH_LOST_LEASE,
	RECALL_CLOSES_HELD,
	REJOIN_WITH_HOLDERS,
	GIVE_UNCONFIRMED,
	TAKE_WITHOUT_TOTAL,
	SETTLE_WHOLE_ITEM,
	REJOIN_KEEPS_NUMBERS,
	REJOIN_BEFORE_HOME,
	REJOIN_FORGETS_TRANSIT,
	BURNT_NUMBER_RETURNS,
	LEFT_OUT_FOR_EVER,
	MUTATIONS
} Mutation;

typedef enum OrderState
{
	LIVE = 1,
	DEAD,
	BURNT						/* dead, but its buyer knows the number */
} OrderState;

typedef struct Order
{
	int32		id;
	uint8		state;
	uint8		units;
	uint8		user;			/* 0: none */
	uint8		request;		/* 0: none */
	int64		lease_id;		/* 0: sold from the row */
	NumberSet	numbers;
} Order;

/* One end of the channel between home and a satellite. */
typedef struct Channel
{
	int32		sent;			/* totals, which only grow */
	int32		received;
	int32		incarnation;	/* highest of the peer that is known */
	uint8		left_out;		/* home: the satellite is lost, and not asked */
	uint8		no_users;		/* both ends: home has those of the satellite */
	uint8		unused[2];

	/* for a numbered item only */
	NumberSet	transit;		/* given last, until the peer tells it has it */
	NumberSet	numbers;		/* of the satellite's share, at both ends */
} Channel;

/* What a node has on disk. */
typedef struct Tables
{
	ItemRow		row;
	int32		supplied;
	int32		shortfall;		/* more sold than supplied, as far as is known */
	int32		incarnation;
	int32		next_id;
	int32		norders;
	int32		recovering;
	int64		numbered_at;	/* when an order got the last id */
	NumberSet	free;			/* numbers on the row */
	NumberSet	known;			/* home: all numbers of the item */
	NumberSet	off_sale;		/* home: withdrawn numbers */
	Channel		channels[NODES];
	Order		orders[ORDERS];
} Tables;

/* What a node has in memory.  Times are of its own clock. */
typedef struct Memory
{
	LeaseCounters c;
	NumberSet	ring;			/* numbers of the units on sale */
	int64		opens;			/* end of the silence after a start */
	int64		promised;		/* no unit appears here before */
	int64		marked;			/* a return is wanted: no promise before */
	int64		certificate;	/* nothing anywhere until then */
	int64		home_until;		/* everything is home until then */
	int64		renew;			/* somebody wants a fresh proof until then */
	int64		wants_until[NODES];
	int32		wants[NODES];	/* home: what satellites lack */
	int32		asks;			/* sent so far */
	int32		fewer_ask;		/* the answer to this one was ... */
	int32		fewer_units;	/* ... that there are fewer than so many */
	int32		row_owner;		/* process that has the row locked, or NOBODY */
} Memory;

typedef struct Node
{
	Memory		m;
	int64		offset;			/* of its clock */
	int64		back_at;		/* when a node that is down starts */
	int32		ppm;			/* deviation of its clock */
	bool		up;
	bool		hidden;			/* restored and not open yet */
	bool		out;			/* left out, or back and not counted yet */
	int64		out_until;		/* true time from which it counts again */
	Tables		t;
	Tables		copy;			/* an older copy of t */
} Node;

typedef enum MsgKind
{
	NO_MSG,
	CALL,						/* of seckill_sync() */
	HELLO,
	REPLY,
	HELLO_REPLY
} MsgKind;

typedef struct Msg
{
	uint8		kind;
	uint8		from;
	uint8		to;
	uint8		driver;			/* process that waits for the reply */
	bool		ok;
	bool		none;			/* the satellite has no unit, and promises */
	bool		recovering;
	bool		had_nothing;	/* the caller, when it asked */
	bool		mute;			/* the reply will be lost */
	bool		slow;			/* the reply will be late */
	bool		unasked;		/* stands for a reply of a node left out */
	bool		no_users;		/* of home: it has the satellite's users */
	int32		serial;			/* of the call or round */
	int32		incarnation;	/* of the sender */
	int32		sent;
	int32		received;
	int32		wanted;
	int32		at_least;
	int32		given;
	int32		fewer;			/* fewer than so many anywhere; 0: not known */
	int32		known;			/* incarnation that the peer knows */
	int32		ask;
	int64		asked;			/* the caller's clock */
	int64		remaining;		/* nothing anywhere for so long */
	NumberSet	transit;
	NumberSet	numbers;
	NumberSet	kept;			/* of numbers: sold or leased */
	int64		at;				/* when it arrives */
} Msg;

typedef enum ProcKind
{
	NO_PROC,
	BUYER,
	RETURNER,					/* cancels an order, or restocks */
	SETTER,						/* seckill_set_available */
	SERVER,						/* seckill_sync on the giver */
	DRIVER						/* share worker */
} ProcKind;

typedef enum Outcome
{
	NO_OUTCOME,
	SOLD,
	SOLD_OUT,
	BUSY,
	LIMIT_REACHED,
	MOVED,
	ROLLED_BACK,
	OUTCOMES
} Outcome;

typedef struct Proc
{
	uint8		kind;
	uint8		place;			/* in its code */
	uint8		node;
	uint8		quantity;
	uint8		user;
	uint8		request;
	uint8		outcome;
	bool		from_row;		/* mode advisory, not cache */
	bool		asking;			/* short of units */
	bool		fewer_seen;		/* the law of sold_out, see laws.c */
	bool		gate;			/* keeps the gate of returns closed */
	int32		order;			/* to cancel */
	int32		restock;
	int32		begun;			/* asks sent when the call began */
	int32		serial;
	int32		tries;
	int32		rejoins;		/* an exhaustive run: so many have begun */
	int32		known;			/* rejoin: highest incarnation that is known */
	int32		lives[NODES];	/* rejoin: incarnations of the peers when asked */
	int32		held;			/* units of lease_id on hold */
	int64		lease_id;
	NumberSet	numbers;		/* on hold */
	int64		asked;			/* clock at the start of a round */
	int64		until;
	int64		at;				/* when it continues */
	Msg			call;			/* that a SERVER works on */
	Msg			answers[NODES];
} Proc;

typedef struct World
{
	int64		now;
	int64		last_lease;
	NumberSet	told;			/* numbers that buyers know */
	int32		answers[REQUESTS];	/* order that a request was told */
	int32		last_ids[NODES];	/* highest order id of a node, also if
									 * lost */
	int32		crashes;		/* an exhaustive run: so many have happened */
	int32		restores;
	int32		nprocs;			/* slots in use, and gaps between them */
	int32		nmsgs;
	Msg			msgs[MSGS];
	Node		nodes[NODES];
	Proc		procs[PROCS];
} World;

/* What does not change during a sale. */
typedef struct Sale
{
	int			nodes;
	int			limit;			/* of a user */
	bool		numbered;
	bool		leased;			/* buyers use the cache */
	bool		exploring;		/* all orders of steps, not a random one */
	int			slots[USERS];	/* node of each user */
	int64		promise;		/* D */
	int64		proof;			/* everything is home for so long */
	int64		bound;			/* home's own promise, with a margin */
	int64		silence;		/* after a start */
	int			use_percent;	/* of a certificate */
} Sale;

#endif							/* SPLIT_H */
