/*
 * book_batch.h
 *		Bookings that the queue worker decides.
 */
#ifndef SECKILL_SALE_BOOK_BATCH_H
#define SECKILL_SALE_BOOK_BATCH_H

#include "sale/buyers.h"
#include "seckill.h"

extern void seckill_book_batch(Purchase **list, int n, bool may_wait,
							   const BuyerCallbacks *buyers);

#endif							/* SECKILL_SALE_BOOK_BATCH_H */
