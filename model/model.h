/*
 * model.h
 *		Types that all parts of the model share.
 */
#ifndef MODEL_H
#define MODEL_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int32_t int32;
typedef int64_t int64;
typedef uint64_t uint64;

typedef uint64 NumberSet;		/* bit n - 1 is number n: see sets.h */

/* When the buyer is told the code of a unit. */
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

	/* of a numbered item only */
	bool		numbered;
	bool		closed;			/* numbers that come back are withdrawn */
	Reveal		reveal;
	int32		supplied;		/* as the extension counts: without withdrawn */
	NumberSet	free;			/* numbers on the row */
	NumberSet	withdrawn;		/* out of the sale for good */
	NumberSet	owed;			/* of them: no close has told their amount */
} ItemRow;

#include "../src/shmem/counters.h"

#define NUMBERS_RING 4
#include "../src/shmem/numbers.h"

#define MAX_TXNS	16
#define ITEMS		2
#define LEVELS		3			/* of savepoints, the top one included */
#define MAX_HOLDS		24
#define HOLDS		64			/* numbers that a transaction can have */
#define NUMBERS		64			/* numbers that an item can have */
#define NEW_ORDERS	12
#define MAX_TURNS	80			/* of one purchase, to find units */
#define ORDERS		256
#define XIDS		4096
#define LEASE_UNITS 3
#define NOBODY		(-1)

/* Ways to break the protocol; the names are for --mutate and its list. */
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
	MUTATIONS
} Mutation;

typedef enum OrderState
{
	LIVE,						/* pending or confirmed */
	ENDED,						/* its units are on sale again */
	BURNT,						/* ended, and keeps its number: it was told */
	DELETED
} OrderState;

/* A row of orders.  One of a numbered item has one unit. */
typedef struct Order
{
	int			item;
	int32		units;
	int64		lease_id;
	OrderState	state;
	int32		number;			/* 0: none */
	bool		told;			/* its code, to the buyer */
} Order;

/* A lock, to the end of the (sub)transaction that has taken it. */
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
	bool		numbered;		/* as the units of the lease are */
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
	bool		shown;			/* published to those who wait */
} Hold;

/* A number that a transaction has of a lease. */
typedef struct Held
{
	Entry	   *entry;
	int64		lease_id;
	NumberHold	hold;
} Held;

/* Units of a lease that a call has put on hold. */
typedef struct Taken
{
	int64		lease_id;
	NumberSet	numbers;
	bool		full;			/* none, as the ring cannot have so many */
} Taken;

/* What a transaction has written and not committed; copied by a savepoint. */
typedef struct Work
{
	ItemRow		row[ITEMS];		/* those that are mine */
	bool		changed[ITEMS]; /* to be announced */
	Order		orders[NEW_ORDERS];
	int			norders;
	struct
	{
		int			order;
		Order		now;
	}			moves[8];		/* changes of orders */
	int			nmoves;
	int32		supplied[ITEMS];
	int32		freed[ITEMS];	/* units supplied or given back */
	int32		used[ITEMS];	/* units of orders, or withdrawn */
	NumberSet	refunded[ITEMS];	/* numbers whose amount a close has told */
	NumberSet	archived[ITEMS];	/* numbers of deleted orders */
	bool		emptied;
} Work;

typedef struct Txn
{
	int			id;
	jmp_buf		place;			/* where to go on */
	jmp_buf		base;			/* the start of a round, or after a crash */
	jmp_buf		error;			/* where an error goes */
	bool		restart;
	char	   *stack;

	int			left;			/* transactions to run in this round */
	bool		running;
	bool		block;			/* more than one statement */
	bool		visible;		/* committed, callbacks not yet done */
	bool		wrote;			/* has an xid */
	int			ops;
	int			level;
	int			xid[LEVELS];
	Work		work;
	Work		saved[LEVELS];
	Hold		holds[MAX_HOLDS];
	int			nholds;
	Held		held[HOLDS];
	int			nheld;
	Entry	   *pin;
	bool		reads_table;	/* has its lock in share mode */

	/* the call that runs */
	bool		calling;
	int			item;
	int32		quantity;
	int32		least;			/* units in reach, at the worst moment */
	int			turns;			/* in search of units */
	NumberSet	seen;			/* free numbers of the row that it has read */

	/* what it waits for; NULL and 0: nothing */
	const Lock *wait_lock;
	int			wait_xid;
	bool		wait_readers;	/* for those who read the table */
} Txn;

typedef struct Xid
{
	int			txn;
	int			level;			/* of the holds that may show it; -1: ended */
} Xid;

/* What is counted, for the report. */
enum
{
	ROUNDS, SALES, REFUSALS, CRASHES, ERRORS, DEADLOCKS, SETTLES, STALE,
	NUMBERED, BURNS, CLOSES, ARCHIVED, FULL_RINGS, COUNTS
};


#endif							/* MODEL_H */
