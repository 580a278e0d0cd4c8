/*
 * seat_map_private.h
 *		Slots of seat maps in shared memory.
 *
 * For seat_map.c and seat_choice.c only.
 */
#ifndef SECKILL_SHMEM_SEAT_MAP_PRIVATE_H
#define SECKILL_SHMEM_SEAT_MAP_PRIVATE_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

#include "base/seat_bits.h"

/* Locks that the slots share; the directory has one more, the first. */
#define SLOT_LOCKS		64

typedef struct MapSlot
{
	Oid			dbid;			/* InvalidOid: unused */
	Oid			items;			/* OID of seckill.items */
	int64		item_id;
	Size		offset;			/* of its memory in the arena */
	Size		size;
	int			nseats;
	int			nlegs;
	uint64		used;			/* when it was used last, by the tick */
	uint64		generation;		/* rises when seats are returned */
	TimestampTz proved_since;	/* when the first trip was proved */
	uint64		proved[SEAT_MAX_LEGS];	/* by first leg: a bit for each stop
										 * to which the trip is sold out,
										 * less 1 */
} MapSlot;

typedef struct MapDirectory
{
	LWLock	   *lock;
	LWLock	   *slot_locks[SLOT_LOCKS];
	pg_atomic_uint64 tick;
	pg_atomic_uint64 generation;
	pg_atomic_uint32 nmaps;
} MapDirectory;

/* in shared memory; NULL without preload */
extern MapDirectory *seckill_seat_directory;

extern MapSlot *seckill_seat_slot_lock(Oid items, int64 item_id,
									   LWLockMode mode);
extern void seckill_seat_slot_unlock(MapSlot *slot);
extern void seckill_seat_slot_open(const MapSlot *slot, SeatMap *map);
extern MapSlot *seckill_seat_slot_lock_map(Oid items, int64 item_id,
										   SeatMap *map);
extern void seckill_seat_forget_proofs(MapSlot *slot);

#endif							/* SECKILL_SHMEM_SEAT_MAP_PRIVATE_H */
