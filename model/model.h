/*
 * model.h
 *		Types that all files of the model share.
 */
#ifndef MODEL_H
#define MODEL_H

#include <setjmp.h>

#include "sets.h"

/* When the code of a unit is revealed to its buyer. */
typedef enum Reveal
{
	REVEAL_NEVER,				/* there is no code */
	REVEAL_PENDING,
	REVEAL_CONFIRMED,
	REVEALS
} Reveal;

typedef struct ItemRow
{
	int32		stock;
	int32		leased;
	int64		lease_id;		/* 0: none */
	int64		version;
	bool		mine;			/* written by the transaction that reads it */

	/* for a numbered item only */
	bool		numbered;
	bool		closed;			/* returned numbers are withdrawn */
	Reveal		reveal;
	int32		supplied;		/* units supplied, without withdrawn ones */
	NumberSet	free;			/* numbers on the row */
	NumberSet	withdrawn;		/* numbers that are never sold again */
	NumberSet	owed;			/* withdrawn, amount not yet reported */
} ItemRow;

#include "../src/shmem/counters.h"

#define NUMBERS_RING 4
#include "../src/shmem/numbers.h"

#define MAX_TXNS	16
#define ITEMS		2
#define LEVELS		3			/* transaction levels, the top included */
#define MAX_HOLDS		24
#define HOLDS		64			/* numbers that a transaction can hold */
#define NEW_ORDERS	12
#define MAX_TURNS	80			/* attempts of a purchase to find units */
#define ORDERS		256
#define XIDS		4096
#define LEASE_UNITS 3
#define NOBODY		(-1)

/* Ways to break the protocol; lease_model.c describes each for --list. */
typedef enum Mutation
{
	SOUND,
	NO_FENCE,
	RELEASE_BEFORE_ANNOUNCE,
	RELEASE_BEFORE_COMMIT,
	CREDIT_BEFORE_COMMIT,
	EVICT_HELD,
	EVICT_PINNED,
	EVICT_REFILLING,
	SETTLE_LIVE_ORDERS,
	JUDGE_WITHOUT_GENERATION,
	JUDGE_WITHOUT_HOLDERS,
	FLAG_FROM_OWN_CHANGE,
	CLOSE_HELD,
	RECALL_WITHOUT_HOLD,
	SAVEPOINT_KEEPS_HOLD,
	ADJUST_DEAD_LEASE,
	NO_ANNOUNCE,
	WAIT_WITH_HOLD,
	LEASE_ID_AGAIN,
	SAVEPOINT_RETURNS_CREDIT,
	SAVEPOINT_DROPS_CREDIT,
	ABORT_RETURNS_CREDIT,
	RELEASE_KEEPS_LEASED_LEVEL,
	RELEASE_KEEPS_LEVEL,
	RETURN_WRONG_NUMBER,
	REFILL_OVERWRITES,
	REFILL_BEYOND_RING,
	REFILL_FULL_RING,
	RECALL_AS_SETTLE,
	ORDER_LEAVES_LEASE,
	SETTLE_ENDED_AS_SOLD,
	SETTLE_FORGETS_BURNT,
	SELL_TOLD_NUMBER,
	SELL_OLD_NUMBER,
	LATE_TAKES_BURNT,
	LATE_KEEPS_NUMBER,
	CLOSE_FORGETS_RING,
	CLOSE_FORGETS_CREDIT,
	CLOSE_IGNORES_HOLDERS,
	CLOSE_THEN_SELL,
	CLOSE_TELLS_TWICE,
	ARCHIVE_FORGETS_NUMBER,
	ARCHIVE_OWES_AMOUNT,
	ARCHIVE_OPEN_LEASE,
	LIST_WAITS,
	LIST_WITHOUT_PROOF,
	ITEMS_UNSORTED,
	RING_FROM_HOLDER,
	MUTATIONS
} Mutation;

typedef enum OrderState
{
	LIVE,						/* pending or confirmed */
	ENDED,						/* its units are on sale again */
	BURNT,						/* ended, but keeps its revealed number */
	DELETED
} OrderState;

/* A row of orders.  An order of a numbered item has one unit. */
typedef struct Order
{
	int			item;
	int32		units;
	int64		lease_id;
	OrderState	state;
	int32		number;			/* 0: none */
	bool		told;			/* its code was revealed to the buyer */
} Order;

/* A lock, held until the end of the (sub)transaction that took it. */
typedef struct Lock
{
	int			owner;
	int			level;
} Lock;

typedef struct Entry
{
	bool		live;
	int			item;
	bool		sold_out;
	bool		refilling;
	LeaseCounters c;
	bool		numbered;		/* do the units of the lease have numbers? */
	bool		has_ring;		/* there are fewer rings than entries */
	NumberRing	ring;
} Entry;

typedef struct Hold
{
	Entry	   *entry;
	int			level;
	int			xid;
	int64		lease_id;
	int32		hold;
	int32		credit;
	bool		refiller;
	bool		shown;			/* published, so that waiters find it */
} Hold;

/* A number of a lease that a transaction holds. */
typedef struct HeldNumber
{
	Entry	   *entry;
	int64		lease_id;
	NumberHold	hold;
} HeldNumber;

/* Units of a lease that a call has put on hold. */
typedef struct Taken
{
	int64		lease_id;
	NumberSet	numbers;
	bool		full;			/* no units: the ring has too little room */
} Taken;

/* Uncommitted changes of a transaction; a savepoint copies them. */
typedef struct Work
{
	ItemRow		row[ITEMS];		/* valid if its mine is set */
	bool		changed[ITEMS]; /* to be announced at commit */
	Order		orders[NEW_ORDERS];
	int			norders;
	struct
	{
		int			order;
		Order		now;
	}			moves[8];		/* changes of orders */
	int			nmoves;
	int32		supplied[ITEMS];
	int32		freed[ITEMS];	/* units supplied or returned */
	int32		used[ITEMS];	/* units sold or withdrawn */
	NumberSet	refunded[ITEMS];	/* numbers whose amount was reported */
	NumberSet	archived[ITEMS];	/* numbers of deleted orders */
	bool		emptied;
} Work;

typedef struct Txn
{
	int			id;
	jmp_buf		place;			/* where to continue */
	jmp_buf		base;			/* where to restart after a crash */
	jmp_buf		error;			/* where an error is caught */
	bool		restart;
	char	   *stack;

	int			left;			/* transactions to run in this round */
	bool		running;
	bool		block;			/* more than one statement */
	bool		visible;		/* committed, callbacks not yet run */
	bool		wrote;			/* has an xid */
	int			ops;
	int			level;
	int			xid[LEVELS];
	Work		work;
	Work		saved[LEVELS];
	Hold		holds[MAX_HOLDS];
	int			nholds;
	HeldNumber	held[HOLDS];
	int			nheld;
	Entry	   *pin;
	bool		reads_table;	/* holds the table lock in share mode */

	/* the running call */
	bool		calling;
	int			item;
	int32		quantity;
	int32		least;			/* fewest units in reach during the call */
	int			turns;			/* attempts to find units so far */
	NumberSet	seen;			/* free numbers of the row as it was read */

	/* what it waits for; NULL and 0: nothing */
	const Lock *wait_lock;
	int			wait_xid;
	bool		wait_readers;	/* waits for readers of the tables */
} Txn;

typedef struct Xid
{
	int			txn;
	int			level;			/* transaction level; -1: ended */
} Xid;

/* Events counted for the report. */
enum
{
	ROUNDS, SALES, REFUSALS, CRASHES, ERRORS, DEADLOCKS, SETTLES, STALE,
	NUMBERED, BURNS, CLOSES, ARCHIVED, FULL_RINGS, LISTS, COUNTS
};


#endif							/* MODEL_H */
