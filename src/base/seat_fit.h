/*
 * seat_fit.h
 *		Which seat to offer: arithmetic on a map of seats and legs.
 *
 * Like seat_bits.h it needs nothing of PostgreSQL, and is included by the
 * server and by t/seat_fit.c.
 *
 * Best fit: of the seats that are free for a trip, the one with the fewest
 * free legs right before and behind it, and of several the lowest.  It keeps
 * seats free that are free for longer.
 */
#ifndef SECKILL_BASE_SEAT_FIT_H
#define SECKILL_BASE_SEAT_FIT_H

#include "base/seat_bits.h"

/*
 * Gaps
 */

/* The seats of a word that are not free on a leg. */
static inline uint64_t
seat_busy(const SeatMap *map, SeatView view, int leg, int word)
{
	size_t		i = (size_t) leg * map->nwords + word;

	return view == SEATS_UNSOLD ? map->taken[i] : map->taken[i] | map->held[i];
}

/* The seats of a word that are free from a leg to another. */
static inline uint64_t
seat_free(const SeatMap *map, SeatView view, int from, int to, int word)
{
	uint64_t	busy = view == SEATS_QUIET ? map->in_flight[word] : 0;

	for (int leg = from; leg < to && busy != ~(uint64_t) 0; leg++)
		busy |= seat_busy(map, view, leg, word);
	return ~busy;
}

/*
 * Split the seats of a word by the number of free legs before a leg: exact[i]
 * are those with i.  Returns how many elements are set; the seats with so many
 * or more are in none.
 */
static inline int
seat_gaps_before(const SeatMap *map, SeatView view, int from, int word,
				 uint64_t seats, int limit, uint64_t *exact)
{
	int			n = 0;

	for (int leg = from - 1; n < limit && seats != 0; leg--)
	{
		uint64_t	busy = leg >= 0 ? seat_busy(map, view, leg, word) :
			~(uint64_t) 0;

		exact[n++] = seats & busy;
		seats &= ~busy;
	}
	return n;
}

/* The same for the free legs from a leg on. */
static inline int
seat_gaps_behind(const SeatMap *map, SeatView view, int to, int word,
				 uint64_t seats, int limit, uint64_t *exact)
{
	int			n = 0;

	for (int leg = to; n < limit && seats != 0; leg++)
	{
		uint64_t	busy = leg < map->nlegs ? seat_busy(map, view, leg, word) :
			~(uint64_t) 0;

		exact[n++] = seats & busy;
		seats &= ~busy;
	}
	return n;
}

/*
 * The smallest gap, if it is below limit, of the given seats of a word; *which
 * are the seats that have it.  Returns limit if there is none.
 */
static inline int
seat_smallest_gap(const SeatMap *map, SeatView view, int from, int to,
				  int word, uint64_t seats, int limit, uint64_t *which)
{
	uint64_t	before[SEAT_MAX_LEGS + 1];
	uint64_t	behind[SEAT_MAX_LEGS + 1];
	int			nbefore = seat_gaps_before(map, view, from, word, seats,
										   limit, before);
	int			nbehind = seat_gaps_behind(map, view, to, word, seats, limit,
										   behind);

	for (int gap = 0; gap < limit; gap++)
		for (int i = 0; i <= gap && i < nbefore; i++)
			if (gap - i < nbehind && (before[i] & behind[gap - i]) != 0)
			{
				*which = 0;
				for (; i <= gap && i < nbefore; i++)
					if (gap - i < nbehind)
						*which |= before[i] & behind[gap - i];
				return gap;
			}
	return limit;
}

/* The place of the lowest bit of a word that is not 0. */
static inline int
seat_lowest(uint64_t word)
{
	return __builtin_ctzll(word);
}


/*
 * One seat
 */

/* The place of the seat that fits best, or -1. */
static inline int
seat_fit_one(const SeatMap *map, SeatView view, int from, int to)
{
	int			best = SEAT_MAX_LEGS + 1;
	int			place = -1;

	for (int word = 0; word < map->nwords && best > 0; word++)
	{
		uint64_t	seats = seat_free(map, view, from, to, word);
		uint64_t	which;
		int			gap;

		if (seats == 0)
			continue;
		gap = seat_smallest_gap(map, view, from, to, word, seats, best,
								&which);
		if (gap < best)
		{
			best = gap;
			place = word * 64 + seat_lowest(which);
		}
	}
	return place;
}

/*
 * The seats of a word that are free from a leg on for the longest; *reach is
 * the leg behind, at most to.
 */
static inline uint64_t
seat_farthest(const SeatMap *map, SeatView view, int from, int to, int word,
			  int *reach)
{
	uint64_t	seats = seat_free(map, view, from, from + 1, word);

	*reach = from;
	while (seats != 0 && ++*reach < to)
	{
		uint64_t	further = seats & ~seat_busy(map, view, *reach, word);

		if (further == 0)
			break;
		seats = further;
	}
	return seats;
}

/*
 * The place of the seat that is free from a leg on for the longest, and of
 * several the one with the fewest free legs before; -1 if none is free on the
 * first leg.  *reach is the leg behind.
 */
static inline int
seat_fit_farthest(const SeatMap *map, SeatView view, int from, int to,
				  int *reach)
{
	int			best = SEAT_MAX_LEGS + 1;
	int			place = -1;

	*reach = from;
	for (int word = 0; word < map->nwords; word++)
	{
		uint64_t	before[SEAT_MAX_LEGS + 1];
		uint64_t	seats;
		int			end;
		int			n;

		seats = seat_farthest(map, view, from, to, word, &end);
		if (seats == 0 || end < *reach)
			continue;
		if (end > *reach)
			best = SEAT_MAX_LEGS + 1;
		n = seat_gaps_before(map, view, from, word, seats, best, before);
		for (int i = 0; i < n; i++)
			if (before[i] != 0)
			{
				best = i;
				place = word * 64 + seat_lowest(before[i]);
				break;
			}
		*reach = end;
	}
	return place;
}

/*
 * Places and legs of a trip with changes, at most max_changes and as few as
 * there can be: from each stop the seat that is free for the longest.  Returns
 * how many pieces, 0 if it takes more changes.
 */
static inline int
seat_fit_changes(const SeatMap *map, SeatView view, int from, int to,
				 int max_changes, SeatPiece *pieces)
{
	int			n = 0;

	while (from < to)
	{
		int			reach;
		int			place;

		if (n > max_changes)
			return 0;
		place = seat_fit_farthest(map, view, from, to, &reach);
		if (place < 0)
			return 0;
		if (reach == to)
			place = seat_fit_one(map, view, from, to);
		pieces[n].seat = place;
		pieces[n++].legs = seat_trip_legs(from, reach);
		from = reach;
	}
	return n;
}


/*
 * Parties
 */

/* Fill the scratch with the gap of each seat; returns how many are free. */
static inline int
seat_fill_gaps(const SeatMap *map, SeatView view, int from, int to)
{
	int			n = 0;

	memset(map->gap, SEAT_NO_GAP, map->nseats);
	for (int word = 0; word < map->nwords; word++)
	{
		uint64_t	exact[SEAT_MAX_LEGS + 1];
		uint64_t	seats = seat_free(map, view, from, to, word);
		int			sets;

		if (seats == 0)
			continue;
		sets = seat_gaps_before(map, view, from, word, seats,
								SEAT_MAX_LEGS + 1, exact);
		for (int i = 0; i < sets; i++)
			for (uint64_t left = exact[i]; left != 0; left &= left - 1, n++)
				map->gap[word * 64 + seat_lowest(left)] = (uint8_t) i;
		sets = seat_gaps_behind(map, view, to, word, seats,
								SEAT_MAX_LEGS + 1, exact);
		for (int i = 0; i < sets; i++)
			for (uint64_t left = exact[i]; left != 0; left &= left - 1)
				map->gap[word * 64 + seat_lowest(left)] += (uint8_t) i;
	}
	return n;
}

/* Is the seat beside the one before? */
static inline bool
seat_is_adjacent(const SeatMap *map, int place)
{
	return (map->adjacent[place / 64] >> (place % 64) & 1) != 0;
}

/*
 * The first place of q free seats beside each other whose gaps add up to the
 * least; -1 if there are none.  The scratch has the gaps.
 */
static inline int
seat_fit_block(const SeatMap *map, int q)
{
	int			best = 0;
	int			place = -1;
	int			run = 0;
	int			sum = 0;

	for (int i = 0; i < map->nseats; i++)
	{
		if (map->gap[i] == SEAT_NO_GAP || !seat_is_adjacent(map, i))
			run = sum = 0;
		if (map->gap[i] == SEAT_NO_GAP)
			continue;
		run++;
		sum += map->gap[i];
		if (run > q)
			sum -= map->gap[i - q];
		if (run >= q && (place < 0 || sum < best))
		{
			best = sum;
			place = i - q + 1;
		}
	}
	return place;
}

/*
 * The q smallest gaps of the seats from first to end - 1: returns their sum,
 * -1 if there are fewer free seats.  *largest is the largest of them, and
 * *with_largest how many are as large.
 */
static inline int
seat_smallest_gaps(const SeatMap *map, int first, int end, int q,
				   int *largest, int *with_largest)
{
	int			count[SEAT_NO_GAP + 1] = {0};
	int			sum = 0;

	for (int i = first; i < end; i++)
		count[map->gap[i]]++;
	for (int gap = 0; gap < SEAT_NO_GAP; gap++)
	{
		int			n = count[gap] < q ? count[gap] : q;

		sum += n * gap;
		q -= n;
		if (q == 0)
		{
			*largest = gap;
			*with_largest = n;
			return sum;
		}
	}
	return -1;
}

/* The end of the seats that are in one car with the first. */
static inline int
seat_end_of_car(const SeatMap *map, int first)
{
	int			end = first + 1;

	while (end < map->nseats && map->car[end] == map->car[first])
		end++;
	return end;
}

/*
 * Choose the q seats from first to end - 1 with the smallest gaps, the lowest
 * of several; false if there are fewer.
 */
static inline bool
seat_pick_smallest(const SeatMap *map, int first, int end, int q,
				   uint64_t legs, SeatPiece *pieces)
{
	int			largest;
	int			with_largest;
	int			n = 0;

	if (seat_smallest_gaps(map, first, end, q, &largest, &with_largest) < 0)
		return false;
	for (int i = first; i < end && n < q; i++)
		if (map->gap[i] < largest ||
			(map->gap[i] == largest && with_largest-- > 0))
		{
			pieces[n].seat = i;
			pieces[n++].legs = legs;
		}
	return true;
}

/* Choose q seats of the car where their gaps add up to the least. */
static inline bool
seat_pick_in_car(const SeatMap *map, int q, uint64_t legs, SeatPiece *pieces)
{
	int			best = -1;
	int			best_sum = 0;
	int			end;

	for (int first = 0; first < map->nseats; first = end)
	{
		int			largest;
		int			with_largest;
		int			sum;

		end = seat_end_of_car(map, first);
		sum = seat_smallest_gaps(map, first, end, q, &largest, &with_largest);
		if (sum >= 0 && (best < 0 || sum < best_sum))
		{
			best = first;
			best_sum = sum;
		}
	}
	return best >= 0 &&
		seat_pick_smallest(map, best, seat_end_of_car(map, best), q, legs,
						   pieces);
}

/* Choose q seats that are free for the whole trip, as together as asked. */
static inline bool
seat_pick_party(const SeatMap *map, const SeatTrip *trip, int q, int nfree,
				SeatPiece *pieces)
{
	uint64_t	legs = seat_trip_legs(trip->from, trip->to);
	int			first = -1;

	if (nfree < q)
		return false;
	if (trip->together != TOGETHER_ANY)
		first = seat_fit_block(map, q);
	if (first >= 0)
		for (int i = 0; i < q; i++)
		{
			pieces[i].seat = first + i;
			pieces[i].legs = legs;
		}
	if (first >= 0 || trip->together == TOGETHER_NEED)
		return first >= 0;
	return (trip->together == TOGETHER_PREFER &&
			seat_pick_in_car(map, q, legs, pieces)) ||
		seat_pick_smallest(map, 0, map->nseats, q, legs, pieces);
}


/*
 * The choice
 */

/*
 * Merge pieces of one place, put them in ascending order; returns how many are
 * left.
 */
static inline int
seat_merge(SeatPiece *pieces, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		SeatPiece	piece = pieces[i];
		int			j = kept;

		while (j > 0 && pieces[j - 1].seat > piece.seat)
			j--;
		if (j > 0 && pieces[j - 1].seat == piece.seat)
		{
			pieces[j - 1].legs |= piece.legs;
			continue;
		}
		memmove(&pieces[j + 1], &pieces[j], (kept - j) * sizeof(SeatPiece));
		pieces[j] = piece;
		kept++;
	}
	return kept;
}

/* Mark pieces, which name places, as taken, or end that. */
static inline void
seat_mark(SeatMap *map, const SeatPiece *pieces, int n, bool on)
{
	for (int i = 0; i < n; i++)
		seat_map_set(map, map->taken, pieces[i].seat, pieces[i].legs, on);
}

/*
 * Add a passenger after another, each on one seat if there is one, else with
 * changes; returns how many pieces there are then, 0 if one has no seat.
 */
static inline int
seat_add_passengers(SeatMap *map, SeatView view, const SeatTrip *trip, int q,
					SeatPiece *pieces, int n)
{
	int			marked = n;

	seat_mark(map, pieces, n, true);
	for (; q > 0; q--)
	{
		int			added = seat_fit_changes(map, view, trip->from, trip->to,
											 trip->max_changes, &pieces[n]);

		if (added == 0)
		{
			n = 0;
			break;
		}
		seat_mark(map, &pieces[n], added, true);
		marked = n += added;
	}
	seat_mark(map, pieces, marked, false);
	return n;
}

/*
 * Choose q seats for a trip.  Returns how many pieces there are, ascending by
 * seat and at most one for each; 0 if there are too few seats.  The pieces
 * name places.  Leaves the map as it was.
 */
static inline int
seat_choose(SeatMap *map, SeatView view, const SeatTrip *trip, int q,
			SeatPiece *pieces)
{
	int			nfree;
	int			n = 0;

	if (q == 1)
	{
		int			place = seat_fit_one(map, view, trip->from, trip->to);

		pieces[0].seat = place;
		pieces[0].legs = seat_trip_legs(trip->from, trip->to);
		if (place >= 0)
			return 1;
		if (trip->max_changes == 0 || trip->together == TOGETHER_NEED)
			return 0;
		return seat_merge(pieces, seat_add_passengers(map, view, trip, 1,
													  pieces, 0));
	}
	nfree = seat_fill_gaps(map, view, trip->from, trip->to);
	if (seat_pick_party(map, trip, q, nfree, pieces))
		return q;
	if (trip->max_changes == 0 || trip->together == TOGETHER_NEED)
		return 0;
	if (nfree > 0 &&
		seat_pick_smallest(map, 0, map->nseats, nfree,
						   seat_trip_legs(trip->from, trip->to), pieces))
		n = nfree;
	return seat_merge(pieces, seat_add_passengers(map, view, trip, q - n,
												  pieces, n));
}

/* The seats that are free throughout a trip. */
static inline int
seat_count_free(const SeatMap *map, SeatView view, int from, int to)
{
	int			n = 0;

	for (int word = 0; word < map->nwords; word++)
		n += __builtin_popcountll(seat_free(map, view, from, to, word));
	return n;
}

/*
 * Count the free seats of every trip: that from a leg to the one before a stop
 * is counts[leg * SEAT_MAX_LEGS + stop - 1].
 */
static inline void
seat_count_pairs(const SeatMap *map, SeatView view, int32_t *counts)
{
	memset(counts, 0, SEAT_MAX_LEGS * SEAT_MAX_LEGS * sizeof(int32_t));
	for (int word = 0; word < map->nwords; word++)
		for (int from = 0; from < map->nlegs; from++)
		{
			uint64_t	seats = ~(uint64_t) 0;

			for (int leg = from; leg < map->nlegs && seats != 0; leg++)
			{
				seats &= ~seat_busy(map, view, leg, word);
				counts[from * SEAT_MAX_LEGS + leg] +=
					__builtin_popcountll(seats);
			}
		}
}

/*
 * The stop that a free seat reaches from each leg on; the leg itself if it is
 * taken on all seats.  A trip from that leg to a later stop is sold out.
 */
static inline void
seat_reaches(const SeatMap *map, SeatView view, uint8_t *reach)
{
	for (int from = 0; from < map->nlegs; from++)
		reach[from] = (uint8_t) from;
	for (int word = 0; word < map->nwords; word++)
		for (int from = 0; from < map->nlegs; from++)
		{
			uint64_t	seats = ~seat_busy(map, view, from, word);
			int			stop = from;

			while (seats != 0 && ++stop < map->nlegs)
				seats &= ~seat_busy(map, view, stop, word);
			if (stop > reach[from])
				reach[from] = (uint8_t) stop;
		}
}

#endif							/* SECKILL_BASE_SEAT_FIT_H */
