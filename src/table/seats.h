/*
 * seats.h
 *		Statements on seckill.seats.
 */
#ifndef SECKILL_TABLE_SEATS_H
#define SECKILL_TABLE_SEATS_H

#include "seckill.h"

extern bool seckill_seats_take(int64 item_id, const SeatPiece *pieces, int n,
							   SeatPiece *rows);
extern int	seckill_seats_lock(int64 item_id, const SeatPiece *pieces, int n,
							   bool may_wait, SeatPiece *rows);
extern void seckill_seats_lock_all(int64 item_id);
extern void seckill_seats_overwrite(int64 item_id, const SeatPiece *pieces,
									int n);
extern void seckill_seats_return(int64 item_id, const SeatPiece *pieces,
								 int n);
extern int	seckill_seats_count(int64 item_id, const SeatPiece *pieces, int n);
extern bool seckill_seats_any_free(int64 item_id, int nlegs);
extern void seckill_seats_delete(int64 item_id);
extern bool seckill_seats_any(void);
extern bool seckill_seats_any_sold(void);
extern uint64 seckill_seats_describe(int64 item_id);
extern void seckill_seats_described(uint64 i, Datum *values, bool *nulls);

#endif							/* SECKILL_TABLE_SEATS_H */
