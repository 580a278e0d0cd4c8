/*
 * seat_choice.c
 *		What is asked of a seat map, and what it is told.
 *
 * All is done under the lock of the map's slot, but for the question whether a
 * trip is sold out, which is most of what is asked of a train that is full.
 * Nothing here raises an error.  See seat_map.c.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/fault.h"
#include "base/seat_fit.h"
#include "shmem/seat_map.h"
#include "shmem/seat_map_private.h"

/*
 * How long a trip counts as sold out after it was proved.  Seats that COMMIT
 * PREPARED returns are announced by nobody.
 */
#define PROOF_LASTS		USECS_PER_SEC


/*
 * Choosing
 */

/*
 * A build for tests makes a map wrong: it sets or clears what is taken of a
 * seat.
 */
static void
sabotage(SeatMap *map)
{
	if (SECKILL_SKIP("seat map set") && map->nseats > 0)
		seat_map_set(map, map->taken, (int) (random() % map->nseats),
					 (uint64) random() & seat_trip_legs(0, map->nlegs), true);
	if (SECKILL_SKIP("seat map cleared") && map->nseats > 0)
		seat_map_set(map, map->taken, (int) (random() % map->nseats),
					 (uint64) random() & seat_trip_legs(0, map->nlegs), false);
}

/* Replace places by numbers of seats. */
static void
name_seats(const SeatMap *map, SeatPiece *pieces, int n)
{
	for (int i = 0; i < n; i++)
		pieces[i].seat = map->seat[pieces[i].seat];
}

/*
 * Choose q seats for a trip, outside seats of which others hold a leg if there
 * are such, and hold them for a transaction.  pieces has room for
 * seat_max_pieces(); they name seats.
 */
SeatChoice
seckill_seat_map_choose(Oid items, int64 item_id, const SeatTrip *trip, int q,
						TransactionId xid, SeatPiece *pieces, int *npieces)
{
	SeatMap		map;
	MapSlot    *slot = seckill_seat_slot_lock_map(items, item_id, &map);
	int			n = 0;

	if (slot == NULL)
		return SEATS_NO_MAP;
	sabotage(&map);
	if (trip->to > map.nlegs)
	{
		seckill_seat_slot_unlock(slot);
		return SEATS_NO_MAP;
	}
	slot->used = pg_atomic_fetch_add_u64(&seckill_seat_directory->tick, 1);
	n = seat_choose(&map, SEATS_QUIET, trip, q, pieces);
	if (n == 0)
		n = seat_choose(&map, SEATS_FREE, trip, q, pieces);
	for (int i = 0; i < n; i++)
		seat_map_hold(&map, pieces[i].seat, pieces[i].legs, xid);
	name_seats(&map, pieces, n);
	seckill_seat_slot_unlock(slot);
	*npieces = n;
	return n > 0 ? SEATS_CHOSEN : SEATS_NONE;
}

/*
 * Hold pieces that were chosen elsewhere for a transaction; they name seats.
 * Returns false if there is no map.
 */
bool
seckill_seat_map_hold(Oid items, int64 item_id, TransactionId xid,
					  const SeatPiece *pieces, int n)
{
	SeatMap		map;
	MapSlot    *slot = seckill_seat_slot_lock_map(items, item_id, &map);

	if (slot == NULL)
		return false;
	for (int i = 0; i < n; i++)
	{
		int			place = seat_map_find(&map, pieces[i].seat);

		if (place >= 0)
			seat_map_hold(&map, place, pieces[i].legs, xid);
	}
	seckill_seat_slot_unlock(slot);
	return true;
}

/*
 * A transaction that holds a leg of the pieces, which name seats, as far as
 * the map knows; InvalidTransactionId if there is none.
 */
TransactionId
seckill_seat_map_holder(Oid items, int64 item_id, const SeatPiece *pieces,
						int n)
{
	SeatMap		map;
	MapSlot    *slot = seckill_seat_slot_lock_map(items, item_id, &map);
	TransactionId holder = InvalidTransactionId;

	if (slot == NULL)
		return holder;
	for (int i = 0; i < n && holder == InvalidTransactionId; i++)
	{
		int			place = seat_map_find(&map, pieces[i].seat);

		if (place >= 0 &&
			(seat_map_get(&map, map.held, place) & pieces[i].legs) != 0)
			holder = map.holder[place];
	}
	seckill_seat_slot_unlock(slot);
	return holder;
}


/*
 * What is sold
 */

/*
 * A transaction that has taken or returned a piece ends.  There may be no map,
 * or another one than when it did so.
 */
void
seckill_seat_map_note(Oid items, int64 item_id, const SeatPiece *piece,
					  SeatEvent event)
{
	SeatMap		map;
	MapSlot    *slot = seckill_seat_slot_lock_map(items, item_id, &map);
	int			place;

	if (slot == NULL)
		return;
	place = seat_map_find(&map, piece->seat);
	if (place >= 0)
	{
		if (event == SEAT_RETURNED)
			seat_map_set(&map, map.taken, place, piece->legs, false);
		else
			seat_map_hold(&map, place, piece->legs, 0);
		if (event == SEAT_SOLD)
			seat_map_set(&map, map.taken, place, piece->legs, true);
	}
	if (event == SEAT_RETURNED)
		seckill_seat_forget_proofs(slot);
	seckill_seat_slot_unlock(slot);
}

/*
 * Set the legs that are taken of seats, as their rows have said.  Returns how
 * many seats had legs that are free.
 */
int
seckill_seat_map_correct(Oid items, int64 item_id, const SeatPiece *seats,
						 int n)
{
	SeatMap		map;
	MapSlot    *slot = seckill_seat_slot_lock_map(items, item_id, &map);
	int			corrected = 0;

	if (slot == NULL)
		return 0;
	for (int i = 0; i < n; i++)
	{
		int			place = seat_map_find(&map, seats[i].seat);
		uint64		wrong;

		if (place < 0)
			continue;
		wrong = seat_map_get(&map, map.taken, place) & ~seats[i].legs;
		corrected += wrong != 0;
		seat_map_set(&map, map.taken, place, wrong, false);
		seat_map_set(&map, map.taken, place, seats[i].legs, true);
	}
	seckill_seat_slot_unlock(slot);
	return corrected;
}


/*
 * The table against the map
 */

/* Does the map have the seats that were read from the table? */
static bool
has_seats(const SeatMap *map, const SeatMap *read)
{
	return map->nseats == read->nseats && map->nlegs == read->nlegs &&
		memcmp(map->seat, read->seat, map->nseats * sizeof(int32)) == 0;
}

/*
 * Copy to a map that was read from the table what is held, and, if doubts is
 * true, what the shared map calls taken and the table does not: it may be held
 * by a prepared transaction, or the shared map is wrong.  Returns false if
 * there is no map of the same seats.
 */
bool
seckill_seat_map_look(Oid items, int64 item_id, SeatMap *read, bool doubts)
{
	SeatMap		map;
	MapSlot    *slot = seckill_seat_slot_lock_map(items, item_id, &map);
	bool		same;

	if (slot == NULL)
		return false;
	same = has_seats(&map, read);
	for (Size i = 0; same && i < (Size) map.nwords * map.nlegs; i++)
	{
		uint64		held = map.held[i];

		if (doubts)
			held |= map.taken[i] & ~read->taken[i];

		read->held[i] |= held;
		read->in_flight[i % map.nwords] |= held;
	}
	seckill_seat_slot_unlock(slot);
	return same;
}

/*
 * Count the free seats of every trip, see seat_count_pairs(); false if there
 * is no map of so many legs.
 */
bool
seckill_seat_map_count(Oid items, int64 item_id, int nlegs, int32 *counts)
{
	MapSlot    *slot = seckill_seat_slot_lock(items, item_id, LW_SHARED);
	SeatMap		map;
	bool		same;

	if (slot == NULL)
		return false;
	seckill_seat_slot_open(slot, &map);
	same = map.nlegs == nlegs;
	if (same)
		seat_count_pairs(&map, SEATS_FREE, counts);
	seckill_seat_slot_unlock(slot);
	return same;
}

/*
 * The generation of an item's map, to be read before the table; 0 without a
 * map.
 */
uint64
seckill_seat_map_generation(Oid items, int64 item_id)
{
	MapSlot    *slot = seckill_seat_slot_lock(items, item_id, LW_SHARED);
	uint64		generation = 0;

	if (slot != NULL)
	{
		generation = slot->generation;
		seckill_seat_slot_unlock(slot);
	}
	return generation;
}

/*
 * Is a trip sold out, given what was proved, whatever the number of
 * passengers?  If passengers may change seats, one leg must be.
 */
static bool
is_beyond(const uint8 *reach, const SeatTrip *trip)
{
	if (trip->max_changes == 0)
		return trip->to > reach[trip->from];
	for (int leg = trip->from; leg < trip->to; leg++)
		if (reach[leg] <= leg)
			return true;
	return false;
}

/* Has what was proved at a time expired, or the clock been set back? */
static bool
has_expired(TimestampTz since, TimestampTz now)
{
	return now < since || now >= since + PROOF_LASTS;
}

/*
 * Read without a lock whether a trip is sold out.  Returns false if that cannot
 * be done, because the slot is of another item or is being changed.
 */
static bool
read_proof(MapSlot *slot, Oid items, int64 item_id,
		   const SeatTrip *trip, TimestampTz now, bool *sold_out)
{
	uint32		seq = pg_atomic_read_u32(&slot->seq);
	bool		is_of;

	pg_read_barrier();
	is_of = seckill_seat_slot_is_of(slot, items, item_id);
	*sold_out = is_beyond(slot->reach, trip) &&
		!has_expired(slot->proved_since, now);
	pg_read_barrier();
	return is_of && (seq & 1) == 0 &&
		pg_atomic_read_u32(&slot->seq) == seq;
}

/*
 * Was a trip proved to be sold out a short time before now, for any number of
 * passengers?  A clock that was set back ends the proof.
 */
bool
seckill_seat_map_is_sold_out(Oid items, int64 item_id, const SeatTrip *trip,
							 TimestampTz now)
{
	MapSlot    *slot;
	bool		sold_out;

	if (!seckill_seat_map_ready())
		return false;
	if (read_proof(seckill_seat_slot_hint(item_id), items, item_id, trip, now,
				   &sold_out))
		return sold_out;
	slot = seckill_seat_slot_lock(items, item_id, LW_SHARED);
	if (slot == NULL)
		return false;
	sold_out = is_beyond(slot->reach, trip) &&
		!has_expired(slot->proved_since, now);
	seckill_seat_slot_unlock(slot);
	return sold_out;
}

/*
 * A map was read from the table after the generation: later calls are told
 * without a look at the table which trips it has no seat for, unless seats have
 * been returned since.
 */
void
seckill_seat_map_prove(Oid items, int64 item_id, uint64 generation,
					   const SeatMap *read)
{
	MapSlot    *slot;
	TimestampTz now;
	uint8		reach[SEAT_MAX_LEGS];

	seat_reaches(read, SEATS_UNSOLD, reach);
	slot = seckill_seat_slot_lock(items, item_id, LW_EXCLUSIVE);
	if (slot == NULL)
		return;
	now = GetCurrentTimestamp();
	if (slot->generation == generation && slot->nlegs == read->nlegs)
	{
		seat_slot_begin(slot);
		if (has_expired(slot->proved_since, now))
		{
			memset(slot->reach, REACHES_ALL, sizeof(slot->reach));
			slot->proved_since = now;
		}
		for (int leg = 0; leg < slot->nlegs; leg++)
			slot->reach[leg] = Min(slot->reach[leg], reach[leg]);
		seat_slot_end(slot);
	}
	seckill_seat_slot_unlock(slot);
}
