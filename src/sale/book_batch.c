/*
 * book_batch.c
 *		Bookings that the queue worker decides.
 *
 * The bookings of an item choose their seats in the order of the queue, from
 * the map, then the rows of all of these seats are locked, and written with a
 * statement for many.  The orders are written with one.
 *
 * A batch that must not wait skips rows that others have locked.  A booking
 * whose seats could not be locked, or are taken by now, chooses again, a few
 * times; after that it is left undecided, as is one for which only seats are
 * left that others hold.  Rows that were locked for it stay locked until the
 * batch commits.  That delays others, but as the batch waits for nobody it
 * causes no deadlock.
 *
 * A booking is sold out also if earlier ones of the batch have chosen the last
 * seats.  If one of these misses then, the booking is not refused, but chooses
 * again, too.
 *
 * A batch that may wait has bookings of one item.  It locks rows in ascending
 * order, and has locked none of the item before.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/fault.h"
#include "base/seat_fit.h"
#include "sale/book_batch.h"
#include "sale/rules.h"
#include "shmem/seat_map.h"
#include "shmem/stat.h"
#include "table/booking_insert.h"
#include "table/relation.h"
#include "table/seat_scan.h"
#include "table/seats.h"
#include "xact/changes.h"
#include "xact/seat_hold.h"

/* How often a booking of a batch chooses. */
#define MAX_ROUNDS	4

typedef struct BookBatch
{
	Purchase  **list;
	int			n;
	bool		may_wait;
	const BuyerCallbacks *buyers;
	TimestampTz now;
	SeatMap    *map;			/* read from the table; NULL: not yet */
	SeatPiece  *rows;			/* of the seats locked in a round */
	int			nrows;
	Purchase  **refused;		/* in a round, by what the batch holds */
	int			nrefused;
} BookBatch;


/*
 * Choosing
 */

/*
 * Read the table, and mark what others hold.  This batch has written no row of
 * the item yet, so the table says what is sold whatever becomes of it: if the
 * trip of p is sold out, callers are told from memory which trips are.
 */
static void
read_table(BookBatch *batch, const Purchase *p)
{
	uint64		generation = seckill_seat_map_generation(seckill_catalog()->items,
														 p->item_id);

	batch->map = seckill_seats_read(p->item_id, p->rules.legs);
	if (generation == 0)
	{
		seckill_stat_count(SECKILL_STAT_MAP_LOADS, 1);
		(void) seckill_seat_map_install(seckill_catalog()->items, p->item_id,
										batch->map);
	}
	else if (!seckill_change_changed_row(p->item_id) &&
			 seat_fit_one(batch->map, SEATS_UNSOLD, p->trip.from,
						  p->trip.to) < 0)
		seckill_seat_map_prove(seckill_catalog()->items, p->item_id,
							   generation, batch->map);
	(void) seckill_seat_map_look(seckill_catalog()->items, p->item_id,
								 batch->map, true);
}

/*
 * Choose pieces from the table.  Returns "sold" if it has, "sold out", or
 * "queued" if only seats are left that others hold, and p may not wait.
 */
static SeckillOutcome
choose_from_table(BookBatch *batch, Purchase *p)
{
	SeatMap    *map;

	if (batch->map == NULL)
		read_table(batch, p);
	map = batch->map;
	seckill_seat_hold_mark(p->item_id, map);
	p->npieces = seat_choose(map, SEATS_QUIET, &p->trip, p->quantity,
							 p->pieces);
	if (p->npieces == 0)
	{
		p->npieces = seat_choose(map, SEATS_UNSOLD, &p->trip, p->quantity,
								 p->pieces);
		if (p->npieces == 0)
		{
			if (seckill_seat_hold_has(p->item_id))
				batch->refused[batch->nrefused++] = p;
			return SECKILL_SOLD_OUT;
		}
		if (!batch->may_wait)
		{
			p->npieces = 0;
			return SECKILL_QUEUED;
		}
	}
	for (int i = 0; i < p->npieces; i++)
		p->pieces[i].seat = map->seat[p->pieces[i].seat];
	seckill_seat_hold_take(p->item_id, p->pieces, p->npieces);
	return SECKILL_SOLD;
}

/* Choose and hold pieces; see choose_from_table(). */
static SeckillOutcome
choose(BookBatch *batch, Purchase *p)
{
	RulesAnswer answer = seckill_rules_check_window(&p->rules, batch->now);

	if (answer != RULES_PASSED)
		return seckill_rules_refusal(answer);
	if (seckill_seat_map_is_sold_out(seckill_catalog()->items, p->item_id,
									 &p->trip, batch->now))
		return SECKILL_SOLD_OUT;
	if (p->pieces == NULL)
		p->pieces = palloc(seat_max_pieces(&p->trip, p->quantity) *
						   sizeof(SeatPiece));
	switch (seckill_seat_hold_choose(p->item_id, &p->trip, p->quantity,
									 p->pieces, &p->npieces))
	{
		case SEATS_CHOSEN:
			return SECKILL_SOLD;
		case SEATS_NONE:
		case SEATS_NO_MAP:
			break;
	}
	return choose_from_table(batch, p);
}

/*
 * Let the undecided bookings choose, in their order.  Returns how many pieces
 * they have chosen.  A booking that has chosen has pieces, and stays "queued"
 * until its rows are locked.
 */
static int
choose_all(BookBatch *batch)
{
	int			npieces = 0;

	batch->nrefused = 0;
	for (int i = 0; i < batch->n; i++)
	{
		Purchase   *p = batch->list[i];
		SeckillOutcome outcome;

		if (p->outcome != SECKILL_QUEUED || !batch->buyers->take(p))
			continue;
		outcome = choose(batch, p);
		if (outcome == SECKILL_SOLD)
			npieces += p->npieces;
		else if (outcome == SECKILL_QUEUED)
			batch->buyers->put_back(p);
		else
			p->outcome = outcome;
	}
	return npieces;
}


/*
 * Taking
 */

/* Merge pieces of one seat in a sorted array; returns how many are left. */
static int
merge_sorted(SeatPiece *pieces, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
		if (kept > 0 && pieces[kept - 1].seat == pieces[i].seat)
			pieces[kept - 1].legs |= pieces[i].legs;
		else
			pieces[kept++] = pieces[i];
	return kept;
}

/* Has the booking chosen, and not taken its pieces yet? */
static bool
has_chosen(const Purchase *p)
{
	return p->outcome == SECKILL_QUEUED && p->npieces > 0;
}

/*
 * Gather the pieces of bookings that wanted() accepts, each seat once; returns
 * how many.  pieces has room for them all.
 */
static int
gather(const BookBatch *batch, bool (*wanted) (const Purchase *p),
	   SeatPiece *pieces)
{
	int			n = 0;

	for (int i = 0; i < batch->n; i++)
		if (wanted(batch->list[i]))
		{
			memcpy(&pieces[n], batch->list[i]->pieces,
				   batch->list[i]->npieces * sizeof(SeatPiece));
			n += batch->list[i]->npieces;
		}
	qsort(pieces, n, sizeof(SeatPiece), seat_compare_pieces);
	return merge_sorted(pieces, n);
}

/* Lock the rows of the pieces chosen, and note what is taken of them. */
static void
lock_rows(BookBatch *batch, int npieces)
{
	SeatPiece  *pieces = palloc(npieces * sizeof(SeatPiece));
	int			n = gather(batch, has_chosen, pieces);

	batch->rows = palloc(n * sizeof(SeatPiece));
	batch->nrows = seckill_seats_lock(batch->list[0]->item_id, pieces, n,
									  batch->may_wait, batch->rows);
	pfree(pieces);
	SECKILL_FAULT("seats of the batch locked");
}

/* The row that was locked of a seat; NULL if it was not. */
static SeatPiece *
find_row(const BookBatch *batch, const SeatPiece *piece)
{
	return bsearch(piece, batch->rows, batch->nrows, sizeof(SeatPiece),
				   seat_compare_pieces);
}

/* Take the pieces of a booking on the rows that were locked, if it can. */
static bool
take_on_rows(BookBatch *batch, const Purchase *p)
{
	for (int i = 0; i < p->npieces; i++)
	{
		const SeatPiece *row = find_row(batch, &p->pieces[i]);

		if (row == NULL || (row->legs & p->pieces[i].legs) != 0)
			return false;
	}
	for (int i = 0; i < p->npieces; i++)
		find_row(batch, &p->pieces[i])->legs |= p->pieces[i].legs;
	return true;
}

/* Let the bookings choose again that were refused in this round. */
static void
reconsider_refused(BookBatch *batch)
{
	for (int i = 0; i < batch->nrefused; i++)
	{
		batch->refused[i]->outcome = SECKILL_QUEUED;
		batch->buyers->put_back(batch->refused[i]);
	}
}

/*
 * Of the bookings that have chosen, sell those whose rows are locked and free;
 * the others hold their pieces no longer.  Returns how many missed.
 */
static int
take_all(BookBatch *batch)
{
	int			missed = 0;

	(void) seckill_seat_map_correct(seckill_catalog()->items,
									batch->list[0]->item_id, batch->rows,
									batch->nrows);
	for (int i = 0; i < batch->n; i++)
	{
		Purchase   *p = batch->list[i];

		if (!has_chosen(p))
			continue;
		if (take_on_rows(batch, p))
		{
			p->outcome = SECKILL_SOLD;
			continue;
		}
		seckill_seat_hold_put_back(p->item_id, p->pieces, p->npieces);
		batch->buyers->put_back(p);
		p->npieces = 0;
		missed++;
	}
	if (missed > 0)
		reconsider_refused(batch);
	seckill_stat_count(SECKILL_STAT_SEATS_MISSED, missed);
	return missed;
}

/* Was the booking sold by this batch? */
static bool
is_sold(const Purchase *p)
{
	return p->outcome == SECKILL_SOLD && p->order_id == 0 && p->npieces > 0;
}

/*
 * Tell the buyer the seat with the answer, if it is one for the whole trip;
 * others read their order.
 */
static void
name_seat(Purchase *p)
{
	if (p->npieces == 1 && p->quantity == 1)
		p->unit = p->pieces[0].seat;
}

/* Write the rows and the orders of what was sold. */
static void
write_all(BookBatch *batch)
{
	Purchase  **sold = palloc(batch->n * sizeof(Purchase *));
	SeatPiece  *pieces;
	SeatPiece  *rows;
	int			nsold = 0;
	int			n = 0;

	for (int i = 0; i < batch->n; i++)
		if (is_sold(batch->list[i]))
		{
			sold[nsold++] = batch->list[i];
			n += batch->list[i]->npieces;
		}
	if (nsold == 0)
		return;
	pieces = palloc(n * sizeof(SeatPiece));
	rows = palloc(n * sizeof(SeatPiece));
	n = gather(batch, is_sold, pieces);
	if (!seckill_seats_take(sold[0]->item_id, pieces, n, rows))
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("seats of item " INT64_FORMAT " were not updated",
						sold[0]->item_id),
				 errhint("Look for a trigger or rule on seckill.seats that skips rows.")));
	seckill_bookings_insert(sold, nsold);
	for (int i = 0; i < nsold; i++)
		name_seat(sold[i]);
	pfree(pieces);
	pfree(rows);
	pfree(sold);
}

/*
 * Decide bookings of one item, in the order of the list: those that may buy,
 * and whose buyers have not left.  See above which are left "queued".
 */
void
seckill_book_batch(Purchase **list, int n, bool may_wait,
				   const BuyerCallbacks *buyers)
{
	BookBatch	batch = {
		.list = list,
		.n = n,
		.may_wait = may_wait,
		.buyers = buyers,
		.now = GetCurrentTimestamp(),
		.refused = palloc(n * sizeof(Purchase *))
	};
	int			rounds = may_wait ? 1 : MAX_ROUNDS;

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		/* those of an earlier transaction are gone */
		list[i]->pieces = NULL;
		list[i]->npieces = 0;
	}
	seckill_relation_lock_seats();
	for (int i = 0; i < rounds; i++)
	{
		int			npieces = choose_all(&batch);

		CHECK_FOR_INTERRUPTS();
		batch.map = NULL;
		if (npieces == 0)
			break;
		lock_rows(&batch, npieces);
		if (take_all(&batch) == 0)
			break;
	}
	write_all(&batch);
}
