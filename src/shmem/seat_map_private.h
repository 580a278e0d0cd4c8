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

	/*
	 * Which trips are sold out.  These, and the item above, are written while
	 * seq is odd, so that they can be read without the lock.
	 */
	pg_atomic_uint32 seq;
	uint8		reach[SEAT_MAX_LEGS];	/* by first leg: trips to a stop
										 * behind this one are sold out */
	TimestampTz proved_since;	/* when this was first proved; 0: never */
} MapSlot;

/* More than any stop: no trip is proved to be sold out. */
#define REACHES_ALL		UINT8_MAX

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
extern MapSlot *seckill_seat_slot_hint(int64 item_id);
extern bool seckill_seat_slot_is_of(const MapSlot *slot, Oid items,
									int64 item_id);
extern void seckill_seat_slot_unlock(MapSlot *slot);
extern void seckill_seat_slot_open(const MapSlot *slot, SeatMap *map);
extern MapSlot *seckill_seat_slot_lock_map(Oid items, int64 item_id,
										   SeatMap *map);
extern void seckill_seat_forget_proofs(MapSlot *slot);

/* Begin a change of fields that seq protects; the slot is locked. */
static inline void
seat_slot_begin(MapSlot *slot)
{
	pg_atomic_write_u32(&slot->seq, pg_atomic_read_u32(&slot->seq) + 1);
	pg_write_barrier();
}

/* End a change of fields that seq protects. */
static inline void
seat_slot_end(MapSlot *slot)
{
	pg_write_barrier();
	pg_atomic_write_u32(&slot->seq, pg_atomic_read_u32(&slot->seq) + 1);
}

#endif							/* SECKILL_SHMEM_SEAT_MAP_PRIVATE_H */
