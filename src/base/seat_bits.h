/*
 * seat_bits.h
 *		A map of seats and legs, in bits.
 *
 * Included by the server and by t/seat_fit.c, so it needs nothing of
 * PostgreSQL.  Nothing here locks, allocates or fails; the caller has locked a
 * map that others use.
 *
 * A map has a plane of bits for each leg, one bit a seat, and so handles 64
 * seats at a time.  The bits behind the last seat are set in all planes of
 * taken seats, so they are never free.
 */
#ifndef SECKILL_BASE_SEAT_BITS_H
#define SECKILL_BASE_SEAT_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One bit of a bigint is left, the sign. */
#define SEAT_MAX_LEGS		63

/* Seats that one booking can have. */
#define SEAT_MAX_QUANTITY	20

/* More than any gap. */
#define SEAT_NO_GAP			127

typedef enum SeatTogether
{
	TOGETHER_PREFER,			/* in one block, else one car, else anywhere */
	TOGETHER_NEED,				/* in one block */
	TOGETHER_ANY
} SeatTogether;

/* What a booking asks for: legs from to to - 1. */
typedef struct SeatTrip
{
	uint8_t		from;
	uint8_t		to;				/* 0: no booking */
	uint8_t		together;		/* a SeatTogether */
	uint8_t		max_changes;	/* of seat, for each passenger */
} SeatTrip;

/* Legs of one seat. */
typedef struct SeatPiece
{
	int32_t		seat;
	uint64_t	legs;			/* a bit for each */
} SeatPiece;

/* By seat; for qsort(). */
static inline int
seat_compare_pieces(const void *a, const void *b)
{
	int32_t		x = ((const SeatPiece *) a)->seat;
	int32_t		y = ((const SeatPiece *) b)->seat;

	return x < y ? -1 : x > y;
}

/* Which seats count as free. */
typedef enum SeatView
{
	SEATS_QUIET,				/* neither taken, held nor in flight */
	SEATS_FREE,					/* neither taken nor held */
	SEATS_UNSOLD				/* not taken; others may hold them */
} SeatView;

/* A map; its arrays are in one piece of memory, see seat_map_layout(). */
typedef struct SeatMap
{
	int			nseats;
	int			nlegs;
	int			nwords;			/* of a plane */
	uint64_t   *taken;			/* planes: sold and committed */
	uint64_t   *held;			/* planes: taken by running transactions */
	uint64_t   *in_flight;		/* plane: seats of which any leg is held */
	uint64_t   *adjacent;		/* plane: seats beside the one before */
	int32_t    *seat;			/* numbers, ascending */
	int32_t    *car;
	uint32_t   *holder;			/* transaction that holds a leg, the last one */
	uint8_t    *gap;			/* scratch */
} SeatMap;

/* The legs of a trip as a mask. */
static inline uint64_t
seat_trip_legs(int from, int to)
{
	return (((uint64_t) 1 << (to - from)) - 1) << from;
}

/* Elements that the pieces of a booking of q seats need at most. */
static inline int
seat_max_pieces(const SeatTrip *trip, int q)
{
	return q * (trip->max_changes + 1);
}

/* The memory that the arrays of a map need. */
static inline size_t
seat_map_size(int nseats, int nlegs)
{
	size_t		nwords = ((size_t) nseats + 63) / 64;

	return nwords * 8 * (2 * (size_t) nlegs + 2) + (size_t) nseats * 13;
}

/*
 * Fill *map for arrays of this size at base, which is aligned for a word and
 * keeps what is there.
 */
static inline void
seat_map_layout(SeatMap *map, void *base, int nseats, int nlegs)
{
	uint64_t   *word = (uint64_t *) base;
	size_t		nwords = ((size_t) nseats + 63) / 64;

	map->nseats = nseats;
	map->nlegs = nlegs;
	map->nwords = (int) nwords;
	map->taken = word;
	map->held = map->taken + nwords * nlegs;
	map->in_flight = map->held + nwords * nlegs;
	map->adjacent = map->in_flight + nwords;
	map->seat = (int32_t *) (map->adjacent + nwords);
	map->car = map->seat + nseats;
	map->holder = (uint32_t *) (map->car + nseats);
	map->gap = (uint8_t *) (map->holder + nseats);
}

/* Clear the planes: all seats are free, and none beside another. */
static inline void
seat_map_clear(SeatMap *map)
{
	memset(map->taken, 0,
		   sizeof(uint64_t) * map->nwords * (2 * (size_t) map->nlegs + 2));
	memset(map->holder, 0, sizeof(uint32_t) * map->nseats);
	if (map->nseats % 64 != 0)
		for (int leg = 0; leg < map->nlegs; leg++)
			map->taken[(size_t) leg * map->nwords + map->nwords - 1] =
				~(uint64_t) 0 << (map->nseats % 64);
}

/* The place of a seat in the map, or -1. */
static inline int
seat_map_find(const SeatMap *map, int32_t seat)
{
	int			low = 0;
	int			high = map->nseats - 1;

	while (low <= high)
	{
		int			middle = low + (high - low) / 2;

		if (map->seat[middle] == seat)
			return middle;
		if (map->seat[middle] < seat)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return -1;
}

/* Set or clear the bits of a seat in a plane for each leg of the mask. */
static inline void
seat_map_set(const SeatMap *map, uint64_t *planes, int place, uint64_t legs,
			 bool on)
{
	uint64_t	bit = (uint64_t) 1 << (place % 64);

	for (int leg = 0; leg < map->nlegs && legs >> leg != 0; leg++)
	{
		uint64_t   *word = &planes[(size_t) leg * map->nwords + place / 64];

		if ((legs >> leg & 1) == 0)
			continue;
		if (on)
			*word |= bit;
		else
			*word &= ~bit;
	}
}

/* The legs of a seat that are set in a plane for each. */
static inline uint64_t
seat_map_get(const SeatMap *map, const uint64_t *planes, int place)
{
	uint64_t	legs = 0;

	for (int leg = 0; leg < map->nlegs; leg++)
		legs |= (planes[(size_t) leg * map->nwords + place / 64] >>
				 (place % 64) & 1) << leg;
	return legs;
}

/* Hold legs of a seat for a transaction, or, with 0, end that. */
static inline void
seat_map_hold(SeatMap *map, int place, uint64_t legs, uint32_t holder)
{
	bool		on = holder != 0;
	uint64_t	bit = (uint64_t) 1 << (place % 64);

	seat_map_set(map, map->held, place, legs, on);
	if (on)
		map->holder[place] = holder;
	if (on || seat_map_get(map, map->held, place) != 0)
		map->in_flight[place / 64] |= bit;
	else
	{
		map->in_flight[place / 64] &= ~bit;
		map->holder[place] = 0;
	}
}

#endif							/* SECKILL_BASE_SEAT_BITS_H */
