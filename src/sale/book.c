/*
 * book.c
 *		Bookings of seats in the caller's transaction.
 *
 * A booking chooses seats, takes their rows by an UPDATE whose predicate says
 * that the legs are free (the guard), and writes its order.  The item's row is
 * not written.  The modes differ in how they choose:
 *
 *	cache			from the map in shared memory; from the table if that fails
 *	retry			from the table, one of the best at random; again if another
 *					transaction was faster
 *	optimistic		likewise, but then the answer is "conflict"
 *	pessimistic		from the table, under the item lock
 *	advisory		likewise
 *	none			from the table; the row is overwritten
 *
 * The guard waits for a transaction that has the row of a seat locked.  It is
 * run in a subtransaction: if it fails, the rows that it has locked are
 * released before other seats are tried.  So two bookings do not wait for each
 * other, as each locks rows in ascending order, while it has none from before.
 *
 * "Sold out" is proved on the table.  It is read under the latest snapshot; if
 * it has free seats, they are tried, though others may hold them: the guard
 * waits for the transactions that do.  Every other refusal is the guard's own.
 *
 * Every function here runs between seckill_table_begin() and
 * seckill_table_end(), for an item whose sale is open.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/pg_prng.h"
#include "miscadmin.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/fault.h"
#include "base/seat_fit.h"
#include "base/settings.h"
#include "sale/book.h"
#include "sale/item_legs.h"
#include "sale/item_lock.h"
#include "sale/place.h"
#include "shmem/seat_map.h"
#include "shmem/stat.h"
#include "table/booking_insert.h"
#include "table/relation.h"
#include "table/seat_scan.h"
#include "table/seats.h"
#include "xact/attempt.h"
#include "xact/changes.h"
#include "xact/seat_hold.h"

/*
 * Modes "retry" and "optimistic" choose one of so many of the best seats, so
 * that not all of them choose the same.
 */
#define BEST_SEATS	8

/* Seats that one booking misses before it raises an error. */
#define MAX_MISSES	1000


/*
 * The guard
 */

/* What to take in a subtransaction, and what the rows say then. */
typedef struct Taking
{
	int64		item_id;
	const SeatPiece *pieces;
	int			n;
	SeatPiece  *rows;
} Taking;

static bool
take_rows(void *arg)
{
	Taking	   *taking = arg;

	return seckill_seats_take(taking->item_id, taking->pieces, taking->n,
							  taking->rows);
}

/* Tell the map what rows have said that we have locked. */
static void
correct_map(const Taking *taking)
{
	int			corrected;

	for (int i = 0; i < taking->n; i++)
		for (int j = 0; j < taking->n; j++)
			if (taking->rows[i].seat == taking->pieces[j].seat)
				taking->rows[i].legs &= ~taking->pieces[j].legs;
	corrected = seckill_seat_map_correct(seckill_catalog()->items,
										 taking->item_id, taking->rows,
										 taking->n);
	seckill_stat_count(SECKILL_STAT_MAP_CORRECTIONS, corrected);
}

/*
 * Take pieces, which this transaction holds, if all of their legs are free;
 * else hold them no longer.  Waits for other transactions that have the rows
 * locked.  A transaction whose snapshot is too old to tell gets a
 * serialization failure.
 */
static bool
take(int64 item_id, const SeatPiece *pieces, int n, bool correct)
{
	Taking		taking = {item_id, pieces, n, palloc(n * sizeof(SeatPiece))};
	bool		taken = seckill_attempt(take_rows, &taking);

	if (taken && correct)
		correct_map(&taking);
	pfree(taking.rows);
	if (taken)
		return true;
	seckill_seat_hold_put_back(item_id, pieces, n);
	seckill_stat_count(SECKILL_STAT_SEATS_MISSED, 1);
	SECKILL_FAULT("seats missed");
	return false;
}

/* Hold pieces and take them, if all of their legs are free. */
bool
seckill_book_take(int64 item_id, const SeatPiece *pieces, int n)
{
	seckill_relation_lock_seats();
	seckill_seat_hold_take(item_id, pieces, n);
	return take(item_id, pieces, n, true);
}

/* The pieces of the booking are taken: write its order. */
static void
sold(Purchase *p)
{
	SECKILL_FAULT("guard passed");
	seckill_legs_check(p);
	p->outcome = SECKILL_SOLD;
	seckill_bookings_insert(&p, 1);
}


/*
 * Choosing from the table
 */

/* The pieces name places of a map: let them name seats. */
static void
name_seats(const SeatMap *map, SeatPiece *pieces, int n)
{
	for (int i = 0; i < n; i++)
		pieces[i].seat = map->seat[pieces[i].seat];
}

/* Choose pieces from a map, first outside seats of which others hold a leg. */
static int
choose_free(SeatMap *map, Purchase *p)
{
	int			n = seat_choose(map, SEATS_QUIET, &p->trip, p->quantity,
								p->pieces);

	return n > 0 ? n : seat_choose(map, SEATS_FREE, &p->trip, p->quantity,
								   p->pieces);
}

/* Choose one of the best choices at random. */
static int
choose_at_random(SeatMap *map, Purchase *p)
{
	int			best = (int) pg_prng_uint64_range(&pg_global_prng_state, 1,
												  BEST_SEATS);
	SeatPiece  *pieces = palloc(seat_max_pieces(&p->trip, p->quantity) *
								sizeof(SeatPiece));
	int			n = choose_free(map, p);

	for (int i = 1; i < best && n > 0; i++)
	{
		int			before = n;

		memcpy(pieces, p->pieces, n * sizeof(SeatPiece));
		seat_mark(map, pieces, n, true);
		n = choose_free(map, p);
		if (n == 0)
		{
			memcpy(p->pieces, pieces, before * sizeof(SeatPiece));
			n = before;
			break;
		}
	}
	pfree(pieces);
	return n;
}

/*
 * The trip is sold out, as the table says that was read into a map after the
 * generation of the shared one.  If this transaction has taken, returned or
 * changed seats of the item, it is so for itself only.
 */
static void
note_sold_out(Purchase *p, uint64 generation, const SeatMap *read)
{
	p->outcome = SECKILL_SOLD_OUT;
	if (generation != 0 && !seckill_seat_hold_has(p->item_id) &&
		!seckill_change_changed_row(p->item_id))
		seckill_seat_map_prove(seckill_catalog()->items, p->item_id,
							   generation, read);
}

/* What was chosen from the table. */
typedef enum TableChoice
{
	CHOSE_NONE,
	CHOSE_FREE,
	CHOSE_HELD					/* others hold the seats, or may do so */
} TableChoice;

/*
 * Choose pieces from a map that was read from the table; seats that others
 * hold only if there are no others.
 */
static TableChoice
choose_from_table(Purchase *p, SeatMap *map)
{
	bool		at_random = p->selling_mode == SECKILL_MODE_RETRY ||
		p->selling_mode == SECKILL_MODE_OPTIMISTIC;

	(void) seckill_seat_map_look(seckill_catalog()->items, p->item_id, map,
								 true);
	p->npieces = at_random ? choose_at_random(map, p) : choose_free(map, p);
	if (p->npieces > 0)
	{
		name_seats(map, p->pieces, p->npieces);
		return CHOSE_FREE;
	}
	p->npieces = seat_choose(map, SEATS_UNSOLD, &p->trip, p->quantity,
							 p->pieces);
	name_seats(map, p->pieces, p->npieces);
	return p->npieces > 0 ? CHOSE_HELD : CHOSE_NONE;
}

static void
free_map(SeatMap *map)
{
	pfree(map->taken);
	pfree(map);
}

/*
 * Read the table and choose pieces.  Waits for those that hold seats while
 * only such are left, but not in mode "optimistic".  Returns false if the trip
 * is sold out.
 */
static bool
read_and_choose(Purchase *p)
{
	for (;;)
	{
		uint64		generation = seckill_seat_map_generation(seckill_catalog()->items,
															 p->item_id);
		SeatMap    *map = seckill_seats_read(p->item_id, p->rules.legs);
		TableChoice choice = choose_from_table(p, map);

		CHECK_FOR_INTERRUPTS();
		if (choice == CHOSE_NONE)
			note_sold_out(p, generation, map);
		free_map(map);
		if (choice != CHOSE_HELD ||
			p->selling_mode == SECKILL_MODE_OPTIMISTIC ||
			!seckill_seat_hold_await(p->item_id, p->pieces, p->npieces))
			return choice != CHOSE_NONE;
		SECKILL_FAULT("holder of seats awaited");
	}
}

/* Read the table, choose and take pieces.  Sets the outcome. */
static void
book_from_table(Purchase *p)
{
	if (read_and_choose(p))
	{
		seckill_seat_hold_take(p->item_id, p->pieces, p->npieces);
		if (take(p->item_id, p->pieces, p->npieces, true))
			sold(p);
		else if (IsolationUsesXactSnapshot())
			seckill_serialization_failure();
		else
			p->outcome = SECKILL_CONFLICT;
	}
}

/*
 * Book from the table, again if another transaction was faster.  Each time one
 * was, a seat was sold, so this ends; if it does not, a trigger skips the
 * rows, which is an error.
 */
static void
book_until_decided(Purchase *p)
{
	for (int i = 0; i < MAX_MISSES; i++)
	{
		CHECK_FOR_INTERRUPTS();
		book_from_table(p);
		if (p->outcome != SECKILL_CONFLICT)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("seats of item " INT64_FORMAT " were not updated",
					p->item_id),
			 errhint("Look for a trigger or rule on seckill.seats that skips rows.")));
}

static void
book_retry(Purchase *p)
{
	book_from_table(p);
	for (int i = 0; p->outcome == SECKILL_CONFLICT && i < seckill_max_retries; i++)
	{
		CHECK_FOR_INTERRUPTS();
		seckill_stat_note_retry();
		book_from_table(p);
	}
}

/* Take the item lock, so that few choose at a time. */
static void
book_in_turn(Purchase *p)
{
	seckill_item_lock_queue(p->item_id);
	book_until_decided(p);
}


/*
 * Choosing from the map
 */

/* Read the map of the item from the table; false if there is no room. */
static bool
load_map(const Purchase *p)
{
	SeatMap    *map = seckill_seats_read(p->item_id, p->rules.legs);
	bool		loaded;

	seckill_stat_count(SECKILL_STAT_MAP_LOADS, 1);
	loaded = seckill_seat_map_install(seckill_catalog()->items, p->item_id,
									  map);
	free_map(map);
	SECKILL_FAULT("seat map loaded");
	return loaded;
}

/* Choose from the map, which is loaded if there is none. */
static SeatChoice
choose_from_map(Purchase *p)
{
	SeatChoice	choice = seckill_seat_hold_choose(p->item_id, &p->trip,
												  p->quantity, p->pieces,
												  &p->npieces);

	if (choice == SEATS_NO_MAP && load_map(p))
		choice = seckill_seat_hold_choose(p->item_id, &p->trip, p->quantity,
										  p->pieces, &p->npieces);
	return choice;
}

static void
book_cache(Purchase *p)
{
	switch (choose_from_map(p))
	{
		case SEATS_CHOSEN:
			if (take(p->item_id, p->pieces, p->npieces, false))
			{
				sold(p);
				return;
			}
			if (IsolationUsesXactSnapshot())
				seckill_serialization_failure();
			break;
		case SEATS_NONE:
			break;
		case SEATS_NO_MAP:
			p->selling_mode = SECKILL_MODE_ADVISORY;
			book_in_turn(p);
			return;
	}
	book_until_decided(p);
}


/*
 * Named seats
 */

/* Let the pieces be the seats that the caller has named. */
static void
name_pieces(Purchase *p)
{
	for (int i = 0; i < p->quantity; i++)
	{
		p->pieces[i].seat = p->named_seats[i];
		p->pieces[i].legs = seat_trip_legs(p->trip.from, p->trip.to);
	}
	p->npieces = p->quantity;
	qsort(p->pieces, p->npieces, sizeof(SeatPiece), seat_compare_pieces);
}

/*
 * Book the seats that the caller has named.  The guard alone says whether they
 * are free.
 */
static void
book_named(Purchase *p)
{
	name_pieces(p);
	if (p->selling_mode == SECKILL_MODE_PESSIMISTIC ||
		p->selling_mode == SECKILL_MODE_ADVISORY)
		seckill_item_lock_queue(p->item_id);
	while (p->selling_mode != SECKILL_MODE_OPTIMISTIC &&
		   seckill_seat_hold_await(p->item_id, p->pieces, p->npieces))
		CHECK_FOR_INTERRUPTS();
	if (seckill_book_take(p->item_id, p->pieces, p->npieces))
	{
		sold(p);
		return;
	}
	if (seckill_seats_count(p->item_id, p->pieces, p->npieces) < p->npieces)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("item " INT64_FORMAT " does not have all of the seats",
						p->item_id),
				 errhint("Seats are the rows of seckill.seats.")));
	if (IsolationUsesXactSnapshot())
		seckill_serialization_failure();
	p->outcome = SECKILL_SEAT_TAKEN;
}


/*
 * none: choose, write the order, write back what was read; shows what fails
 * without concurrency control.
 */
static void
book_none(Purchase *p)
{
	SeatMap    *map = seckill_seats_read(p->item_id, p->rules.legs);
	SeatPiece  *rows;

	p->npieces = seat_choose(map, SEATS_UNSOLD, &p->trip, p->quantity,
							 p->pieces);
	rows = palloc((p->npieces + 1) * sizeof(SeatPiece));
	for (int i = 0; i < p->npieces; i++)
	{
		rows[i].seat = map->seat[p->pieces[i].seat];
		rows[i].legs = p->pieces[i].legs |
			seat_map_get(map, map->taken, p->pieces[i].seat);
	}
	name_seats(map, p->pieces, p->npieces);
	free_map(map);
	p->outcome = SECKILL_SOLD_OUT;
	if (p->npieces == 0)
		return;
	seckill_seat_hold_take(p->item_id, p->pieces, p->npieces);
	sold(p);
	seckill_seats_overwrite(p->item_id, rows, p->npieces);
}


/* The mode that sells: "auto" is "cache", where there is memory for maps. */
SeckillMode
seckill_book_mode(const Purchase *p)
{
	if (p->mode == SECKILL_MODE_AUTO || p->mode == SECKILL_MODE_CACHE)
		return seckill_seat_map_ready() && !seckill_change_emptied_items() ?
			SECKILL_MODE_CACHE : SECKILL_MODE_ADVISORY;
	return p->mode;
}

/* Serve a booking in its selling_mode; sets its outcome. */
void
seckill_book_run(Purchase *p)
{
	if (!seckill_place_enter_to_buy(p))
		return;
	seckill_relation_lock_seats();
	if (p->named_seats != NULL)
	{
		book_named(p);
		return;
	}
	switch (p->selling_mode)
	{
		case SECKILL_MODE_NONE:
			book_none(p);
			break;
		case SECKILL_MODE_OPTIMISTIC:
			book_from_table(p);
			break;
		case SECKILL_MODE_RETRY:
			book_retry(p);
			break;
		case SECKILL_MODE_PESSIMISTIC:
		case SECKILL_MODE_ADVISORY:
			book_in_turn(p);
			break;
		case SECKILL_MODE_CACHE:
			book_cache(p);
			break;
		case SECKILL_MODE_QUEUE:
		case SECKILL_MODE_AUTO:
			pg_unreachable();
	}
}
