/*
 * seat_hold.h
 *		The seats that the current transaction has taken and returned.
 */
#ifndef SECKILL_XACT_SEAT_HOLD_H
#define SECKILL_XACT_SEAT_HOLD_H

#include "base/seat_bits.h"
#include "shmem/seat_map.h"

extern SeatChoice seckill_seat_hold_choose(int64 item_id,
										   const SeatTrip *trip, int q,
										   SeatPiece *pieces, int *npieces);
extern void seckill_seat_hold_take(int64 item_id, const SeatPiece *pieces,
								   int n);
extern bool seckill_seat_hold_await(int64 item_id, const SeatPiece *pieces,
									int n);
extern void seckill_seat_hold_put_back(int64 item_id, const SeatPiece *pieces,
									   int n);
extern void seckill_seat_hold_return(int64 item_id, const SeatPiece *pieces,
									 int n);
extern bool seckill_seat_hold_has(int64 item_id);
extern void seckill_seat_hold_mark(int64 item_id, SeatMap *map);
extern void seckill_seat_hold_end(bool committed);
extern void seckill_seat_hold_prepare(void);
extern void seckill_seat_hold_commit_level(int level);
extern void seckill_seat_hold_abort_level(int level);

#endif							/* SECKILL_XACT_SEAT_HOLD_H */
