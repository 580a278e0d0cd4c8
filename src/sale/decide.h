/*
 * decide.h
 *		TODO
 */
#ifndef SECKILL_SALE_DECIDE_H
#define SECKILL_SALE_DECIDE_H

#include "datatype/timestamp.h"

#include "seckill.h"

/* How a buyer can leave that waits elsewhere for the decision. */
typedef struct BuyerCallbacks
{
	/* the purchase is decided now: false if the buyer has left */
	bool		(*take) (const Purchase *p);
	/* it is not decided now: the buyer may leave */
	void		(*put_back) (const Purchase *p);
} BuyerCallbacks;

/* The purchases of one item in one transaction. */
typedef struct Sale
{
	ItemRow		row;			/* as it will be */
	const BuyerCallbacks *buyers;	/* NULL: they cannot leave */
	int32		from_row;		/* units sold, to be written to the row */
	int32		from_lease;
	TimestampTz now;
} Sale;

extern void seckill_decide_begin(Sale *sale, const ItemRow *row,
								 const BuyerCallbacks *buyers);
extern SeckillOutcome seckill_decide(Sale *sale, Purchase *p,
									 bool may_wait);
extern void seckill_decide_end(const Sale *sale, int64 item_id);
extern void seckill_decide_orders(Purchase **list, int n);
extern void seckill_decide_batch(Purchase **list, int n, bool may_wait,
								 const BuyerCallbacks *buyers);

#endif							/* SECKILL_SALE_DECIDE_H */
