/*
 * book.h
 *		Bookings of seats in the caller's transaction.
 */
#ifndef SECKILL_SALE_BOOK_H
#define SECKILL_SALE_BOOK_H

#include "seckill.h"

extern SeckillMode seckill_book_mode(const Purchase *p);
extern void seckill_book_run(Purchase *p);
extern bool seckill_book_take(int64 item_id, const SeatPiece *pieces, int n);

#endif							/* SECKILL_SALE_BOOK_H */
