/*
 * seat_hold.c
 *		The seats that the current transaction has taken and returned.
 *
 * Their rows are written by the transaction and need nothing of this.  The
 * list is for the seat maps: a map shows a piece as held from the time it is
 * chosen to the end of the transaction, or of the subtransaction that chose
 * it.  Then it is told what became of the piece, in the order of the list.  A
 * piece is listed whether there is a map or not, as one may be loaded
 * meanwhile.
 *
 * The list grows before a piece is held, so the functions that
 * src/callbacks.c calls at these ends raise nothing and allocate nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "base/catalog.h"
#include "base/fault.h"
#include "shmem/seat_map.h"
#include "xact/lock.h"
#include "xact/seat_hold.h"

typedef struct SeatHold
{
	int64		item_id;
	SeatPiece	piece;
	int			level;			/* transaction nest level */
	bool		returned;		/* by a cancel, rather than taken */
} SeatHold;

static SeatHold *list = NULL;
static int	n = 0;
static int	max = 0;

/* OID of seckill.items for the list. */
static Oid	items = InvalidOid;

/* Enlarge the list for more pieces, unless there is room; note the table. */
static void
reserve(int more)
{
	items = seckill_catalog()->items;
	if (n + more <= max)
		return;
	max = Max(2 * max, Max(n + more, 32));
	list = list == NULL ?
		MemoryContextAlloc(TopMemoryContext, max * sizeof(SeatHold)) :
		repalloc_huge(list, max * sizeof(SeatHold));
}

/* Add pieces to the list, which has room for them. */
static void
add(int64 item_id, const SeatPiece *pieces, int npieces, bool returned)
{
	for (int i = 0; i < npieces; i++)
	{
		list[n].item_id = item_id;
		list[n].piece = pieces[i];
		list[n].level = GetCurrentTransactionNestLevel();
		list[n].returned = returned;
		n++;
	}
}

/*
 * Choose pieces from the map of the item and hold them, see
 * seckill_seat_map_choose().
 */
SeatChoice
seckill_seat_hold_choose(int64 item_id, const SeatTrip *trip, int q,
						 SeatPiece *pieces, int *npieces)
{
	TransactionId xid = GetCurrentTransactionId();
	SeatChoice	choice;

	reserve(seat_max_pieces(trip, q));
	choice = seckill_seat_map_choose(items, item_id, trip, q, xid, pieces,
									 npieces);
	if (choice == SEATS_CHOSEN)
		add(item_id, pieces, *npieces, false);
	SECKILL_FAULT("seats held");
	return choice;
}

/* Hold pieces that were chosen without the map. */
void
seckill_seat_hold_take(int64 item_id, const SeatPiece *pieces, int npieces)
{
	TransactionId xid = GetCurrentTransactionId();

	reserve(npieces);
	(void) seckill_seat_map_hold(items, item_id, xid, pieces, npieces);
	add(item_id, pieces, npieces, false);
	SECKILL_FAULT("seats held");
}

/*
 * Wait for the end of a transaction or subtransaction that holds a leg of the
 * pieces, if the map knows one; false if it knows none.  An UPDATE of their
 * rows would wait for the whole transaction, even if the holder is rolled back
 * to a savepoint, as the row was written in a subtransaction that was released.
 */
bool
seckill_seat_hold_await(int64 item_id, const SeatPiece *pieces, int npieces)
{
	TransactionId xid;

	items = seckill_catalog()->items;
	xid = seckill_seat_map_holder(items, item_id, pieces, npieces);
	if (!TransactionIdIsValid(xid) ||
		TransactionIdIsCurrentTransactionId(xid) ||
		seckill_lock_xact_has_ended(xid))
		return false;
	seckill_lock_await_xact(xid);
	return true;
}

/*
 * The pieces, which are on the list, could not be taken: hold them no longer.
 */
void
seckill_seat_hold_put_back(int64 item_id, const SeatPiece *pieces, int npieces)
{
	for (int i = 0; i < npieces; i++)
	{
		int			j = n - 1;

		while (j >= 0 && (list[j].item_id != item_id || list[j].returned ||
						  list[j].piece.seat != pieces[i].seat ||
						  list[j].piece.legs != pieces[i].legs))
			j--;
		if (j < 0)
			continue;
		seckill_seat_map_note(items, item_id, &pieces[i], SEAT_NOT_SOLD);
		memmove(&list[j], &list[j + 1], (n - 1 - j) * sizeof(SeatHold));
		n--;
	}
}

/* The pieces of an order that ended were returned to the rows. */
void
seckill_seat_hold_return(int64 item_id, const SeatPiece *pieces, int npieces)
{
	reserve(npieces);
	add(item_id, pieces, npieces, true);
}

/* Has this transaction taken or returned a seat of the item? */
bool
seckill_seat_hold_has(int64 item_id)
{
	for (int i = 0; i < n; i++)
		if (list[i].item_id == item_id)
			return true;
	return false;
}

/*
 * Mark what this transaction holds as taken in a map that was read from the
 * table: its rows may not be written yet.
 */
void
seckill_seat_hold_mark(int64 item_id, SeatMap *map)
{
	for (int i = 0; i < n; i++)
	{
		int			place;

		if (list[i].item_id != item_id || list[i].returned)
			continue;
		place = seat_map_find(map, list[i].piece.seat);
		if (place >= 0)
			seat_map_set(map, map->taken, place, list[i].piece.legs, true);
	}
}

/* Tell the map that a piece is committed or rolled back. */
static void
tell(const SeatHold *hold, bool committed)
{
	if (!hold->returned)
		seckill_seat_map_note(items, hold->item_id, &hold->piece,
							  committed ? SEAT_SOLD : SEAT_NOT_SOLD);
	else if (committed)
		seckill_seat_map_note(items, hold->item_id, &hold->piece,
							  SEAT_RETURNED);
}

/* The transaction has ended: tell the maps. */
void
seckill_seat_hold_end(bool committed)
{
	for (int i = 0; i < n; i++)
		tell(&list[i], committed);
	n = 0;
}

/*
 * The transaction is prepared, and nobody tells what becomes of it: its seats
 * count as sold, and those that it returns as sold still.  A map that is wrong
 * after that is corrected by the table.
 */
void
seckill_seat_hold_prepare(void)
{
	for (int i = 0; i < n; i++)
		if (!list[i].returned)
			tell(&list[i], true);
	n = 0;
}

/* A level has committed: its pieces become those of its parent. */
void
seckill_seat_hold_commit_level(int level)
{
	for (int i = n - 1; i >= 0 && list[i].level >= level; i--)
		list[i].level = level - 1;
}

/* A level has aborted: tell the maps of its pieces, and forget them. */
void
seckill_seat_hold_abort_level(int level)
{
	while (n > 0 && list[n - 1].level >= level)
		tell(&list[--n], false);
}
