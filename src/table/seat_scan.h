/*
 * seat_scan.h
 *		The seats of an item, read from the table.
 */
#ifndef SECKILL_TABLE_SEAT_SCAN_H
#define SECKILL_TABLE_SEAT_SCAN_H

#include "base/compat.h"
#include "base/seat_bits.h"

extern SeatMap *seckill_seats_read(int64 item_id, int nlegs);

#endif							/* SECKILL_TABLE_SEAT_SCAN_H */
