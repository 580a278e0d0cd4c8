/*
 * buyers.h
 *		How the purchases of a queue are decided while their buyers may leave
 *		it.
 */
#ifndef SECKILL_SALE_BUYERS_H
#define SECKILL_SALE_BUYERS_H

#include "seckill.h"

typedef struct BuyerCallbacks
{
	/* keep the buyer from leaving; false if it has left */
	bool		(*take) (const Purchase *p);
	/* let the buyer leave again */
	void		(*put_back) (const Purchase *p);
} BuyerCallbacks;

#endif							/* SECKILL_SALE_BUYERS_H */
