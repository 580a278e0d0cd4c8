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

typedef struct ItemRow
{
	int32		stock;
	int32		leased;
	int64		lease_id;		/* 0: none */
	int64		version;
	bool		mine;			/* written by the transaction that reads it */
} ItemRow;

#include "../src/counters.h"

#define MAX_TXNS	16
#define ITEMS		2
#define LEVELS		3			/* of savepoints, the top one included */
#define CLAIMS		24
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
	MUTATIONS
} Mutation;

/* A row of orders.  live: pending or confirmed. */
typedef struct Order
{
	int			item;
	int32		units;
	int64		lease_id;
	bool		live;
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
	StockCounters c;
} Entry;

typedef struct Claim
{
	Entry	   *entry;
	int			level;
	int			xid;
	int64		lease_id;
	int32		hold;
	int32		credit;
	bool		refiller;
	bool		shown;			/* published to those who wait */
} Claim;

/* What a transaction has written and not committed; copied by a savepoint. */
typedef struct Work
{
	ItemRow		row[ITEMS];		/* those that are mine */
	bool		changed[ITEMS]; /* to be announced */
	Order		orders[8];		/* new ones */
	int			norders;
	struct
	{
		int			order;
		bool		live;
	}			moves[8];		/* of orders into another state */
	int			nmoves;
	int32		supplied[ITEMS];
	int32		freed[ITEMS];	/* units supplied or given back */
	int32		used[ITEMS];	/* units of orders */
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
	Claim		claims[CLAIMS];
	int			nclaims;
	Entry	   *pin;
	bool		reads_table;	/* has its lock in share mode */

	/* the call that runs */
	bool		calling;
	int			item;
	int32		quantity;
	int32		least;			/* units in reach, at the worst moment */

	/* what it waits for; NULL and 0: nothing */
	const Lock *wait_lock;
	int			wait_xid;
	bool		wait_readers;	/* for those who read the table */
} Txn;

typedef struct Xid
{
	int			txn;
	int			level;			/* of the claims that may show it; -1: ended */
} Xid;

/* What is counted, for the report. */
enum
{
	ROUNDS, SALES, REFUSALS, CRASHES, ERRORS, DEADLOCKS, SETTLES, STALE, COUNTS
};


#endif							/* MODEL_H */
