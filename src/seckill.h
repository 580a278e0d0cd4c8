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
	SECKILL_REQUEST_REUSED		/* an error of a call that asks for one
								 * purchase */
} SeckillOutcome;

#define SECKILL_OUTCOMES	(SECKILL_REQUEST_REUSED + 1)

/* Order of the labels of the SQL type seckill_order_state. */
typedef enum OrderState
{
	ORDER_PENDING,
	ORDER_CONFIRMED,
	ORDER_CANCELLED,
	ORDER_EXPIRED
} OrderState;

#define ORDER_STATES	(ORDER_EXPIRED + 1)

typedef struct CacheEntry CacheEntry;

/* What an item's row says of its sale. */
typedef struct SaleRules
{
	TimestampTz starts_at;		/* DT_NOBEGIN: NULL */
	TimestampTz ends_at;		/* DT_NOEND: NULL */
	int32		per_user_limit; /* units; 0: NULL */
	bool		require_token;
	int64		pay_within;		/* microseconds; 0: NULL */
	float4		user_rate;		/* calls a second; -1: NULL */
	int32		user_burst;		/* calls; 0: NULL */
	int32		max_waiters;	/* calls; -1: NULL */
} SaleRules;

/* A row of seckill.items, as the statement that read it saw it. */
typedef struct ItemRow
{
	int32		stock;
	int32		leased;
	int64		lease_id;		/* 0: none */
	int64		version;
	int64		supplied;
	SaleRules	rules;
	bool		mine;			/* written by the current transaction */
} ItemRow;

/* One purchase on its way through the rooms. */
typedef struct Purchase
{
	int64		item_id;
	int64		user_id;
	int32		quantity;
	SeckillMode mode;			/* what the caller asked for */
	SeckillMode selling_mode;	/* what sells; the same until a mode is chosen */
	CacheEntry *entry;			/* pinned; NULL: the cache has no place */
	TimestampTz called_at;
	int			batch_size;		/* purchases that it leads in a list, or 0 */
	SeckillOutcome outcome;
	int64		order_id;		/* set when sold */
	uint64		ticket;			/* in the queue; 0: not from there */
	SaleRules	rules;			/* of the item, as last looked at */
	bool		has_request;
	pg_uuid_t	request_id;		/* idempotency key, if has_request */
	const text *token;
	bool		token_checked;	/* is the next one known? */
	bool		token_valid;
	bool		admitted;		/* may be served, see admit.c */
	struct Purchase *duplicate_of;	/* the same request, served instead */
} Purchase;

/* Places where one transaction can hold units. */
#define SECKILL_MAX_HOLDS	256

#endif							/* SECKILL_H */
