/*
 * seat_map.c
 *		Seat maps in shared memory: which seat of an item to try.
 *
 * A map is a guess, and may be wrong both ways without harm.  The row of a
 * seat decides whether it is sold: a booking of a seat that the map wrongly
 * calls free finds its row taken, and "none is free" is proved on the table
 * before anybody is told.  So a map may vanish at any moment; it is read from
 * the table again when it is needed, and nothing is to be settled.
 *
 *	choose		choose the pieces of a trip, and hold them
 *	hold		hold pieces that were chosen elsewhere
 *	note		a transaction that has taken or returned a piece ends
 *	correct		set what rows have said
 *	install		enter a map that was read from the table
 *	count		count what is free
 *	look		copy what is held to a map that was read from the table
 *	prove		note which trips were proved to be sold out
 *	drop		forget a map, because its seats have changed
 *
 * Memory is one arena of seckill.seat_memory.  A slot says where in it the map
 * of an item is.  If there is no room, the map that was used longest ago is
 * evicted; bits of running transactions go with it.
 *
 * Locks.  Slots are given to items and taken from them under the directory's
 * lock, exclusively, and the lock of the slot.  All else of a slot and its map
 * is under the lock of the slot.  Several slots share a lock.  The directory's
 * lock is taken first.  Which trips are sold out is also read without a lock,
 * by a sequence lock.  Nothing here raises an error, and note(), drop() and
 * drop_table() may run at the end of a transaction.
 */
#include "postgres.h"


#include "access/xlog.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "base/fault.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "shmem/seat_map.h"
#include "shmem/seat_map_private.h"

/* Memory for each slot that there is. */
#define BYTES_PER_SLOT	8192

MapDirectory *seckill_seat_directory = NULL;
static MapSlot *slots = NULL;
static char *arena = NULL;

/* The slot that an item had last, by its lowest bits. */
#define HINTS	64
static int	hints[HINTS];


/*
 * Shared memory
 */

static Size
arena_size(void)
{
	return (Size) seckill_seat_memory * 1024;
}

static int
nslots(void)
{
	return (int) (arena_size() / BYTES_PER_SLOT) + 1;
}

static void
request(void)
{
	seckill_shmem_struct("seckill seat directory", sizeof(MapDirectory),
						 (void **) &seckill_seat_directory);
	seckill_shmem_struct("seckill seat slots",
						 mul_size(nslots(), sizeof(MapSlot)),
						 (void **) &slots);
	seckill_shmem_struct("seckill seat maps", Max(arena_size(), 1),
						 (void **) &arena);
}

static void
init(void)
{
	seckill_seat_directory->lock = seckill_shmem_lock_number(&seckill_seat_map_shmem, 0);
	for (int i = 0; i < SLOT_LOCKS; i++)
		seckill_seat_directory->slot_locks[i] =
			seckill_shmem_lock_number(&seckill_seat_map_shmem, i + 1);
	pg_atomic_init_u64(&seckill_seat_directory->tick, 0);
	pg_atomic_init_u64(&seckill_seat_directory->generation, 0);
	pg_atomic_init_u32(&seckill_seat_directory->nmaps, 0);
	for (int i = 0; i < nslots(); i++)
	{
		slots[i].dbid = InvalidOid;
		pg_atomic_init_u32(&slots[i].seq, 0);
	}
}

const SeckillShmem seckill_seat_map_shmem = {
	.tranche = "seckill_seats",
	.request = request,
	.init = init,
	.nlocks = SLOT_LOCKS + 1
};

/* Are there maps, that is, is the library preloaded with memory for them? */
bool
seckill_seat_map_ready(void)
{
	return seckill_seat_directory != NULL && seckill_seat_memory > 0;
}


/*
 * Slots
 */

static LWLock *
lock_of(int i)
{
	return seckill_seat_directory->slot_locks[i % SLOT_LOCKS];
}

/* Is this the slot of the item?  Under its lock or that of the directory. */
bool
seckill_seat_slot_is_of(const MapSlot *slot, Oid items, int64 item_id)
{
	return slot->item_id == item_id && slot->items == items &&
		slot->dbid == MyDatabaseId;
}

/* The slot of an item, or -1.  Under the directory's lock. */
static int
find_slot(Oid items, int64 item_id)
{
	for (int i = 0; i < nslots(); i++)
		if (seckill_seat_slot_is_of(&slots[i], items, item_id))
			return i;
	return -1;
}

/* The slot that the item had last, not locked: it may have it no more. */
MapSlot *
seckill_seat_slot_hint(int64 item_id)
{
	return &slots[hints[item_id & (HINTS - 1)]];
}

/* Lock the slot that the item had last; NULL if it has it no more. */
static MapSlot *
lock_hinted(Oid items, int64 item_id, LWLockMode mode)
{
	int			i = hints[item_id & (HINTS - 1)];

	LWLockAcquire(lock_of(i), mode);
	if (seckill_seat_slot_is_of(&slots[i], items, item_id))
		return &slots[i];
	LWLockRelease(lock_of(i));
	return NULL;
}

/* Find and lock the slot of an item; NULL, with nothing locked, if none. */
MapSlot *
seckill_seat_slot_lock(Oid items, int64 item_id, LWLockMode mode)
{
	MapSlot    *slot;
	int			i;

	if (!seckill_seat_map_ready() ||
		pg_atomic_read_u32(&seckill_seat_directory->nmaps) == 0)
		return NULL;
	slot = lock_hinted(items, item_id, mode);
	if (slot != NULL)
		return slot;
	LWLockAcquire(seckill_seat_directory->lock, LW_SHARED);
	i = find_slot(items, item_id);
	if (i >= 0)
	{
		LWLockAcquire(lock_of(i), mode);
		hints[item_id & (HINTS - 1)] = i;
	}
	LWLockRelease(seckill_seat_directory->lock);
	return i >= 0 ? &slots[i] : NULL;
}

void
seckill_seat_slot_unlock(MapSlot *slot)
{
	LWLockRelease(lock_of(slot - slots));
}

/* Fill *map with the arrays of a locked slot. */
void
seckill_seat_slot_open(const MapSlot *slot, SeatMap *map)
{
	seat_map_layout(map, arena + slot->offset, slot->nseats, slot->nlegs);
}

/* Find and lock the map of an item; NULL, with nothing locked, if none. */
MapSlot *
seckill_seat_slot_lock_map(Oid items, int64 item_id, SeatMap *map)
{
	MapSlot    *slot = seckill_seat_slot_lock(items, item_id, LW_EXCLUSIVE);

	if (slot != NULL)
		seckill_seat_slot_open(slot, map);
	return slot;
}

/* Seats have been returned: no trip is proved to be sold out any more. */
void
seckill_seat_forget_proofs(MapSlot *slot)
{
	seat_slot_begin(slot);
	memset(slot->reach, REACHES_ALL, sizeof(slot->reach));
	slot->proved_since = 0;
	seat_slot_end(slot);
	slot->generation =
		pg_atomic_add_fetch_u64(&seckill_seat_directory->generation, 1);
}


/*
 * Loading and evicting
 */

/*
 * The first offset from which size bytes of the arena are free; the arena's
 * size if there is none.  Under the directory's lock, exclusively.
 */
static Size
find_room(Size size)
{
	Size		offset = 0;
	bool		moved = true;

	while (moved)
	{
		moved = false;
		for (int i = 0; i < nslots(); i++)
			if (OidIsValid(slots[i].dbid) &&
				slots[i].offset < offset + size &&
				offset < slots[i].offset + slots[i].size)
			{
				offset = slots[i].offset + slots[i].size;
				moved = true;
			}
	}
	return offset + size <= arena_size() ? offset : arena_size();
}

/* Take the slot from its item.  Under the directory's lock, exclusively. */
static void
free_slot(int i)
{
	LWLockAcquire(lock_of(i), LW_EXCLUSIVE);
	seat_slot_begin(&slots[i]);
	slots[i].dbid = InvalidOid;
	seat_slot_end(&slots[i]);
	LWLockRelease(lock_of(i));
	pg_atomic_fetch_sub_u32(&seckill_seat_directory->nmaps, 1);
}

/*
 * An unused slot with room for a map of this size at *offset, for which others
 * are evicted if need be.  Under the directory's lock, exclusively.
 */
static int
make_room(Size size, Size *offset)
{
	for (;;)
	{
		int			unused = -1;
		int			oldest = -1;

		for (int i = 0; i < nslots(); i++)
		{
			if (!OidIsValid(slots[i].dbid))
				unused = i;
			else if (oldest < 0 || slots[i].used < slots[oldest].used)
				oldest = i;
		}
		*offset = find_room(size);
		if (unused >= 0 && *offset < arena_size())
			return unused;
		Assert(oldest >= 0);
		free_slot(oldest);
	}
}

/*
 * Enter the map of an item, as read from the table.  Returns false if it is
 * too large, or on a standby, where nobody tells what is sold; true if there
 * is a map now, perhaps that of another session.
 */
bool
seckill_seat_map_install(Oid items, int64 item_id, const SeatMap *map)
{
	Size		size = MAXALIGN(seat_map_size(map->nseats, map->nlegs));
	Size		offset;
	int			i;

	if (!seckill_seat_map_ready() || RecoveryInProgress() ||
		map->nseats == 0 || size > arena_size())
		return false;
	LWLockAcquire(seckill_seat_directory->lock, LW_EXCLUSIVE);
	if (find_slot(items, item_id) < 0)
	{
		i = make_room(size, &offset);
		SECKILL_CRASH("room for a seat map made");
		LWLockAcquire(lock_of(i), LW_EXCLUSIVE);
		memcpy(arena + offset, map->taken,
			   seat_map_size(map->nseats, map->nlegs));
		slots[i].offset = offset;
		slots[i].size = size;
		slots[i].nseats = map->nseats;
		slots[i].nlegs = map->nlegs;
		slots[i].used = pg_atomic_fetch_add_u64(&seckill_seat_directory->tick, 1);
		seckill_seat_forget_proofs(&slots[i]);
		seat_slot_begin(&slots[i]);
		slots[i].item_id = item_id;
		slots[i].items = items;
		slots[i].dbid = MyDatabaseId;
		seat_slot_end(&slots[i]);
		LWLockRelease(lock_of(i));
		pg_atomic_fetch_add_u32(&seckill_seat_directory->nmaps, 1);
	}
	LWLockRelease(seckill_seat_directory->lock);
	return true;
}

/* Forget the map of an item, because its seats have changed. */
void
seckill_seat_map_drop(Oid items, int64 item_id)
{
	int			i;

	if (!seckill_seat_map_ready() ||
		pg_atomic_read_u32(&seckill_seat_directory->nmaps) == 0)
		return;
	LWLockAcquire(seckill_seat_directory->lock, LW_EXCLUSIVE);
	i = find_slot(items, item_id);
	if (i >= 0)
		free_slot(i);
	LWLockRelease(seckill_seat_directory->lock);
}

/* Forget all maps of a table, or, if items is InvalidOid, of a database. */
void
seckill_seat_map_drop_table(Oid dbid, Oid items)
{
	if (!seckill_seat_map_ready() ||
		pg_atomic_read_u32(&seckill_seat_directory->nmaps) == 0)
		return;
	LWLockAcquire(seckill_seat_directory->lock, LW_EXCLUSIVE);
	for (int i = 0; i < nslots(); i++)
		if (OidIsValid(slots[i].dbid) && slots[i].dbid == dbid &&
			(slots[i].items == items || !OidIsValid(items)))
			free_slot(i);
	LWLockRelease(seckill_seat_directory->lock);
}
