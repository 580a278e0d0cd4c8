/*
 * seat_direct.h
 *		Takes seats without SQL, where nothing but the extension's own objects is
 *		on the table.
 */
#ifndef SECKILL_TABLE_SEAT_DIRECT_H
#define SECKILL_TABLE_SEAT_DIRECT_H

#include "seckill.h"
#include "table/direct.h"

extern DirectResult seckill_seats_take_direct(int64 item_id,
											  const SeatPiece *pieces, int n,
											  SeatPiece *rows, int *taken);

#endif							/* SECKILL_TABLE_SEAT_DIRECT_H */
