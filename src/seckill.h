/*
 * seckill.h
 *		Types that all layers share.
 */
#ifndef SECKILL_H
#define SECKILL_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/uuid.h"

#include "base/compat.h"
#include "base/seat_bits.h"

/* Order of the labels of the SQL type seckill_mode. */
typedef enum SeckillMode
{
	SECKILL_MODE_NONE,
	SECKILL_MODE_OPTIMISTIC,
	SECKILL_MODE_RETRY,
	SECKILL_MODE_PESSIMISTIC,
	SECKILL_MODE_ADVISORY,
	SECKILL_MODE_CACHE,
	SECKILL_MODE_QUEUE,
	SECKILL_MODE_AUTO
} SeckillMode;

#define SECKILL_MODES	(SECKILL_MODE_AUTO + 1)

/* Order of the labels of the SQL type seckill_outcome. */
typedef enum SeckillOutcome
{
	SECKILL_SOLD,
	SECKILL_SOLD_OUT,
	SECKILL_CONFLICT,
	SECKILL_NOT_STARTED,
	SECKILL_ENDED,
	SECKILL_QUEUED,				/* not decided yet */
	SECKILL_BUSY,
	SECKILL_LIMIT_REACHED,
	SECKILL_DENIED,
	SECKILL_RATE_LIMITED,
	/* these two are raised as errors by calls that make one purchase */
	SECKILL_REQUEST_REUSED,
	SECKILL_UNKNOWN_ITEM,
	SECKILL_SEAT_TAKEN,			/* a seat that was named is not free */
	SECKILL_MOVED				/* the item is sold on another node */
} SeckillOutcome;

#define SECKILL_OUTCOMES	(SECKILL_MOVED + 1)

/* Order of the labels of the SQL type seckill_redeem_outcome. */
typedef enum RedeemOutcome
{
	REDEEM_REDEEMED,
	REDEEM_USED,
	REDEEM_EXPIRED,
	REDEEM_UNKNOWN,
	REDEEM_RATE_LIMITED
} RedeemOutcome;

#define REDEEM_OUTCOMES		(REDEEM_RATE_LIMITED + 1)

/* Order of the labels of the SQL type seckill_order_state. */
typedef enum OrderState
{
	ORDER_PENDING,
	ORDER_CONFIRMED,
	ORDER_CANCELLED,
	ORDER_EXPIRED
} OrderState;

#define ORDER_STATES	(ORDER_EXPIRED + 1)

/* Where an item is sold, the values of items.place. */
typedef enum ItemPlace
{
	PLACE_HERE,					/* NULL */
	PLACE_MOVING,				/* nowhere, while it is copied to another node */
	PLACE_ARRIVING,				/* a copy, not sold here yet */
	PLACE_GONE					/* on another node */
} ItemPlace;

#define ITEM_PLACES	(PLACE_GONE + 1)

/* Most nodes over which an item can be split. */
#define MAX_SPLIT_NODES	16

/* The nodes over which an item is split; none: it is not. */
typedef struct SplitNodes
{
	uint16		n;
	uint16		node[MAX_SPLIT_NODES];	/* the first is its home */
} SplitNodes;

typedef struct CacheEntry CacheEntry;

/* The columns of an item's row that say how it is sold. */
typedef struct SaleRules
{
	TimestampTz starts_at;		/* DT_NOBEGIN if NULL */
	TimestampTz ends_at;		/* DT_NOEND if NULL */
	int32		per_user_limit; /* units; 0 if NULL */
	int64		limit_window;	/* microseconds; 0 if NULL */
	bool		require_token;
	int64		pay_within;		/* microseconds; 0 if NULL */
	float4		user_rate;		/* calls per second; -1 if NULL */
	int32		user_burst;		/* calls; 0 if NULL */
	int32		max_waiters;	/* calls; -1 if NULL */
	bool		numbered;		/* do the units have numbers? */
	bool		fragmented;		/* do the numbers make the row long? */
	bool		tells_pending;	/* is the value of a unit told before payment? */
	int32		legs;			/* of the seats; 0: the item has units */
	ItemPlace	place;
	SplitNodes	split;
} SaleRules;

/* A row of seckill.items, as the statement or scan that read it saw it. */
typedef struct ItemRow
{
	int32		stock;
	int32		leased;
	int64		lease_id;		/* 0: none */
	int64		version;
	int64		supplied;
	SaleRules	rules;
	bool		mine;			/* written by the current transaction */

	/* read only where units are moved; NULL if the units have no numbers */
	struct NumberSet *numbers;	/* of the stock */
	struct NumberSet *off_sale;
} ItemRow;

/*
 * One purchase on its way through the layers.
 *
 * The entry is pinned by the function that sets it.  Purchases of one list
 * have one item, one entry and one pin.  The function that made the purchase
 * or the list unpins it, when it is done with the entry.
 */
typedef struct Purchase
{
	int64		item_id;
	int64		user_id;
	int32		quantity;
	SeckillMode mode;			/* what the caller asked for */
	bool		in_array;		/* its mistakes must not fail others */
	bool		has_request;
	pg_uuid_t	request_id;		/* idempotency key, if has_request */
	const text *token;			/* NULL: none */
	SeatTrip	trip;			/* of a booking */
	const int32 *named_seats;	/* quantity of them; NULL: any seats */

	TimestampTz called_at;		/* when the rules were checked */
	TimestampTz ordered_at;		/* created_at of its order; 0: this
								 * transaction's start */
	uint64		ticket;			/* in the queue; 0: it was not queued */
	int64		queued_at;		/* of a split item, by seckill_clock() */
	CacheEntry *entry;			/* NULL: the cache has none for the item */
	SaleRules	rules;			/* of the item, as last read */
	bool		token_checked;	/* is token_valid known? */
	bool		token_valid;
	bool		wants_value;	/* the caller asks what its unit is worth */
	bool		no_room;		/* the entry has no room for its number */
	bool		admitted;		/* rules, request and limit let it buy */
	struct Purchase *duplicate_of;	/* one in the list with the same request */
	SeckillMode selling_mode;	/* mode, until sale/modes.c chooses another */
	int			batch_size;		/* purchases in the list that it leads, or 0 */
	SeckillOutcome outcome;
	int64		order_id;		/* set when sold */
	int32		unit;			/* number of its unit, or of its only seat; 0:
								 * none, or not known */
	SeatPiece  *pieces;			/* of a booking that was sold, by seat */
	int			npieces;
} Purchase;

/* Holds that one transaction can have. */
#define SECKILL_MAX_HOLDS	256

#endif							/* SECKILL_H */
