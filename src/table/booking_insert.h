/*
 * booking_insert.h
 *		Inserts the orders of bookings, and reads their seats.
 */
#ifndef SECKILL_TABLE_BOOKING_INSERT_H
#define SECKILL_TABLE_BOOKING_INSERT_H

#include "seckill.h"

extern void seckill_bookings_insert(Purchase **list, int n);
extern bool seckill_booking_read(int64 item_id, int64 order_id,
								 SeatPiece **pieces, int *n);
extern int	seckill_booking_read_arrays(Datum seats, Datum legs,
										SeatPiece **pieces);

#endif							/* SECKILL_TABLE_BOOKING_INSERT_H */
