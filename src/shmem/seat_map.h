/*
 * seat_map.h
 *		Seat maps in shared memory: which seat of an item to try.
 */
#ifndef SECKILL_SHMEM_SEAT_MAP_H
#define SECKILL_SHMEM_SEAT_MAP_H

#include "access/transam.h"
#include "datatype/timestamp.h"

#include "base/seat_bits.h"
#include "base/shmem.h"

/* What a map says to a booking. */
typedef enum SeatChoice
{
	SEATS_CHOSEN,				/* and held */
	SEATS_NONE,					/* none is free, says the map */
	SEATS_NO_MAP
} SeatChoice;

/* What a transaction that ends tells of a piece. */
typedef enum SeatEvent
{
	SEAT_SOLD,					/* a piece it has taken is committed */
	SEAT_NOT_SOLD,				/* ... is rolled back */
	SEAT_RETURNED				/* a piece it has returned is committed */
} SeatEvent;

extern const SeckillShmem seckill_seat_map_shmem;
extern bool seckill_seat_map_ready(void);
extern SeatChoice seckill_seat_map_choose(Oid items, int64 item_id,
										  const SeatTrip *trip, int q,
										  TransactionId xid,
										  SeatPiece *pieces, int *npieces);
extern bool seckill_seat_map_hold(Oid items, int64 item_id,
								  TransactionId xid,
								  const SeatPiece *pieces, int n);
extern TransactionId seckill_seat_map_holder(Oid items, int64 item_id,
											 const SeatPiece *pieces, int n);
extern void seckill_seat_map_note(Oid items, int64 item_id,
								  const SeatPiece *piece, SeatEvent event);
extern int	seckill_seat_map_correct(Oid items, int64 item_id,
									 const SeatPiece *seats, int n);
extern bool seckill_seat_map_install(Oid items, int64 item_id,
									 const SeatMap *map);
extern bool seckill_seat_map_look(Oid items, int64 item_id, SeatMap *map,
								  bool doubts);
extern bool seckill_seat_map_count(Oid items, int64 item_id, int nlegs,
								   int32 *counts);
extern bool seckill_seat_map_is_sold_out(Oid items, int64 item_id,
										 const SeatTrip *trip,
										 TimestampTz now);
extern uint64 seckill_seat_map_generation(Oid items, int64 item_id);
extern void seckill_seat_map_prove(Oid items, int64 item_id,
								   uint64 generation, const SeatMap *read);
extern void seckill_seat_map_drop(Oid items, int64 item_id);
extern void seckill_seat_map_drop_table(Oid dbid, Oid items);

#endif							/* SECKILL_SHMEM_SEAT_MAP_H */
