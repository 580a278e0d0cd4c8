/*
 * decide.h
 *		Deciding purchases on locked rows.
 */
#ifndef SECKILL_SALE_DECIDE_H
#define SECKILL_SALE_DECIDE_H

#include "datatype/timestamp.h"

#include "base/clock.h"
#include "sale/buyers.h"
#include "seckill.h"

/* A locked row while purchases are decided on it. */
typedef struct Sale
{
	ItemRow		row;			/* as it will be written */
	const BuyerCallbacks *buyers;	/* NULL: they cannot leave */
	int32		from_row;		/* units sold from the row's stock */
	int32		from_lease;		/* units sold from the row's lease */
	TimestampTz now;
	ClockTime	began;			/* of an item that is split over nodes */

	/* where units have numbers: those dealt, and those left to deal */
	int32	   *row_numbers;	/* from_row, from the row's stock */
	int32	   *lease_numbers;	/* from_lease, from the row's lease */
	struct NumberSet *left;		/* of the row's stock */
} Sale;

extern void seckill_decide_begin(Sale *sale, const ItemRow *row,
								 const BuyerCallbacks *buyers);
extern SeckillOutcome seckill_decide(Sale *sale, Purchase *p,
									 bool may_wait);
extern SeckillOutcome seckill_decide_any_time(Sale *sale, const ItemRow *row,
											  Purchase *p);
extern void seckill_decide_end(const Sale *sale, int64 item_id);
extern int	seckill_decide_compare(const void *a, const void *b);
extern void seckill_decide_orders(Purchase **list, int n);
extern void seckill_decide_batch(Purchase **list, int n, bool may_wait,
								 const BuyerCallbacks *buyers);

#endif							/* SECKILL_SALE_DECIDE_H */
