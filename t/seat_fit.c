/*
 * seat_fit.c
 *		Test of src/base/seat_fit.h, without a server.
 *
 * seat_fit check N		compare each choice with a plain rule, one seat and one
 *						leg at a time, on N random maps
 * seat_fit lines		sell synthetic lines by several rules, and print how
 *						much of what could be sold each of them sells
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/seat_fit.h"

#define MAX_SEATS	1100
#define MAX_LEGS	63

static uint64_t state = 1;

/* xorshift64*; the same numbers on every machine */
static uint32_t
pick(uint32_t n)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t) ((state * UINT64_C(2685821657736338717)) >> 33) % n;
}

/* The plain copy of a map: the legs of each seat. */
static uint64_t taken[MAX_SEATS];
static uint64_t held[MAX_SEATS];

static SeatMap map;
static uint64_t memory[400000];

static void
new_map(int nseats, int nlegs)
{
	seat_map_layout(&map, memory, nseats, nlegs);
	seat_map_clear(&map);
	for (int i = 0; i < nseats; i++)
	{
		taken[i] = held[i] = 0;
		map.seat[i] = i * 2 + 5;
		map.car[i] = i / 30;
	}
}

static void
fill(int density)
{
	for (int i = 0; i < map.nseats; i++)
	{
		if (i > 0 && pick(5) > 0)
			map.adjacent[i / 64] |= (uint64_t) 1 << (i % 64);
		for (int leg = 0; leg < map.nlegs; leg++)
			if ((int) pick(100) < density)
				taken[i] |= (uint64_t) 1 << leg;
			else if (pick(100) < 5)
				held[i] |= (uint64_t) 1 << leg;
		seat_map_set(&map, map.taken, i, taken[i], true);
		if (held[i] != 0)
			seat_map_hold(&map, i, held[i], 1);
	}
}

static uint64_t
busy_of(SeatView view, int i)
{
	return view == SEATS_UNSOLD ? taken[i] : taken[i] | held[i];
}

static bool
is_free(SeatView view, int i, int from, int to)
{
	return (busy_of(view, i) & seat_trip_legs(from, to)) == 0 &&
		(view != SEATS_QUIET || held[i] == 0);
}

static int
gap_of(SeatView view, int i, int from, int to)
{
	int			gap = 0;

	for (int leg = from - 1; leg >= 0 && (busy_of(view, i) >> leg & 1) == 0; leg--)
		gap++;
	for (int leg = to; leg < map.nlegs && (busy_of(view, i) >> leg & 1) == 0; leg++)
		gap++;
	return gap;
}

static int
plain_fit(SeatView view, int from, int to)
{
	int			best = -1;

	for (int i = 0; i < map.nseats; i++)
		if (is_free(view, i, from, to) &&
			(best < 0 || gap_of(view, i, from, to) < gap_of(view, best, from, to)))
			best = i;
	return best;
}

/* The fewest changes of seat; -1 if there is a leg without a free seat. */
static int
plain_changes(SeatView view, int from, int to)
{
	int			fewest[MAX_LEGS + 1];

	fewest[from] = 0;
	for (int end = from + 1; end <= to; end++)
	{
		fewest[end] = -1;
		for (int start = from; start < end; start++)
			for (int i = 0; fewest[start] >= 0 && i < map.nseats; i++)
				if (is_free(view, i, start, end) &&
					(fewest[end] < 0 || fewest[start] + 1 < fewest[end]))
					fewest[end] = fewest[start] + 1;
	}
	return fewest[to] - 1;
}

static void
expect(bool ok, const char *what)
{
	if (ok)
		return;
	printf("wrong: %s (%d seats, %d legs)\n", what, map.nseats, map.nlegs);
	exit(1);
}

/* The sum of the gaps of pieces; raises the alarm if one is not free. */
static int
sum_of(SeatView view, const SeatPiece *pieces, int n, int from, int to)
{
	int			sum = 0;

	for (int i = 0; i < n; i++)
	{
		expect(is_free(view, pieces[i].seat, from, to), "a seat is not free");
		expect(i == 0 || pieces[i].seat > pieces[i - 1].seat, "order of seats");
		sum += gap_of(view, pieces[i].seat, from, to);
	}
	return sum;
}

/* The smallest sum of q neighbours' gaps; -1 if there are none. */
static int
plain_block(SeatView view, int q, int from, int to)
{
	int			best = -1;

	for (int first = 0; first + q <= map.nseats; first++)
	{
		int			sum = 0;
		bool		ok = true;

		for (int i = first; i < first + q; i++)
		{
			ok = ok && is_free(view, i, from, to) &&
				(i == first || seat_is_adjacent(&map, i));
			sum += gap_of(view, i, from, to);
		}
		if (ok && (best < 0 || sum < best))
			best = sum;
	}
	return best;
}

static int
compare_ints(const void *a, const void *b)
{
	return *(const int *) a - *(const int *) b;
}

/* The smallest sum of q gaps in a range of seats; -1 if too few are free. */
static int
plain_smallest(SeatView view, int first, int end, int q, int from, int to)
{
	int			gaps[MAX_SEATS];
	int			n = 0;
	int			sum = 0;

	for (int i = first; i < end; i++)
		if (is_free(view, i, from, to))
			gaps[n++] = gap_of(view, i, from, to);
	if (n < q)
		return -1;
	qsort(gaps, n, sizeof(int), compare_ints);
	for (int i = 0; i < q; i++)
		sum += gaps[i];
	return sum;
}

static int
plain_car(SeatView view, int q, int from, int to)
{
	int			best = -1;

	for (int first = 0; first < map.nseats; first += 30)
	{
		int			end = first + 30 < map.nseats ? first + 30 : map.nseats;
		int			sum = plain_smallest(view, first, end, q, from, to);

		if (sum >= 0 && (best < 0 || sum < best))
			best = sum;
	}
	return best;
}

static void
check_one(SeatView view, int from, int to)
{
	SeatTrip	trip = {(uint8_t) from, (uint8_t) to, TOGETHER_PREFER, 0};
	SeatPiece	pieces[MAX_LEGS + 1];
	int			best = plain_fit(view, from, to);
	int			changes;
	int			n;
	uint64_t	legs = 0;

	expect(seat_fit_one(&map, view, from, to) == best, "best fit");
	n = seat_choose(&map, view, &trip, 1, pieces);
	expect(n == (best >= 0) && (n == 0 || pieces[0].seat == best), "choice");

	changes = plain_changes(view, from, to);
	trip.max_changes = MAX_LEGS - 1;
	n = seat_choose(&map, view, &trip, 1, pieces);
	expect((n > 0) == (changes >= 0), "a trip with changes");
	for (int i = 0; i < n; i++)
	{
		expect((busy_of(view, pieces[i].seat) & pieces[i].legs) == 0, "a leg is not free");
		expect((legs & pieces[i].legs) == 0, "a leg twice");
		legs |= pieces[i].legs;
	}
	if (n > 0)
		expect(legs == seat_trip_legs(from, to), "the legs of the trip");
	n = seat_fit_changes(&map, view, from, to, MAX_LEGS - 1, pieces);
	expect(n - 1 == (changes < 0 ? -1 : changes), "fewest changes");
	if (changes > 0)
		expect(seat_fit_changes(&map, view, from, to, changes - 1, pieces) == 0,
			   "more changes than allowed");
}

static void
check_party(SeatView view, int from, int to, int q)
{
	SeatTrip	trip = {(uint8_t) from, (uint8_t) to, TOGETHER_NEED, 0};
	SeatPiece	pieces[SEAT_MAX_QUANTITY * (MAX_LEGS + 1)];
	int			block = plain_block(view, q, from, to);
	int			car = plain_car(view, q, from, to);
	int			any = plain_smallest(view, 0, map.nseats, q, from, to);
	int			n;

	n = seat_choose(&map, view, &trip, q, pieces);
	expect(n == (block >= 0 ? q : 0), "together: need");
	if (n > 0)
		expect(sum_of(view, pieces, n, from, to) == block, "gaps of a block");

	trip.together = TOGETHER_PREFER;
	n = seat_choose(&map, view, &trip, q, pieces);
	expect(n == (any >= 0 ? q : 0), "together: prefer");
	if (n > 0)
		expect(sum_of(view, pieces, n, from, to) ==
			   (block >= 0 ? block : car >= 0 ? car : any), "gaps of a party");

	trip.together = TOGETHER_ANY;
	n = seat_choose(&map, view, &trip, q, pieces);
	expect(n == (any >= 0 ? q : 0), "together: any");
	if (n > 0)
		expect(sum_of(view, pieces, n, from, to) == any, "smallest gaps");

	/* with changes: every leg q times, no leg of a seat twice */
	trip.together = TOGETHER_PREFER;
	trip.max_changes = MAX_LEGS - 1;
	n = seat_choose(&map, view, &trip, q, pieces);
	for (int leg = from; n > 0 && leg < to; leg++)
	{
		int			count = 0;

		for (int i = 0; i < n; i++)
		{
			expect((busy_of(view, pieces[i].seat) & pieces[i].legs) == 0,
				   "a leg of a party is not free");
			expect(i == 0 || pieces[i].seat > pieces[i - 1].seat, "a seat twice");
			count += pieces[i].legs >> leg & 1;
		}
		expect(count == q, "seats on a leg");
	}
	if (any >= 0)
		expect(n == q, "no change without need");
}

/* From each leg on, one seat at a time: the first leg on which it is busy. */
static void
check_reaches(SeatView view)
{
	uint8_t		reach[MAX_LEGS];

	seat_reaches(&map, view, reach);
	for (int from = 0; from < map.nlegs; from++)
	{
		int			farthest = from;

		for (int i = 0; i < map.nseats; i++)
		{
			int			stop = from;

			while (stop < map.nlegs && (busy_of(view, i) >> stop & 1) == 0)
				stop++;
			if (stop > farthest)
				farthest = stop;
		}
		expect(reach[from] == farthest, "where a seat is free to");
	}
}

static void
check(int n)
{
	static const SeatView views[] = {SEATS_QUIET, SEATS_FREE, SEATS_UNSOLD};

	for (int i = 0; i < n; i++)
	{
		int			nlegs = 1 + pick(i % 4 == 0 ? MAX_LEGS : 12);
		int			from = pick(nlegs);
		int			to = from + 1 + pick(nlegs - from);
		SeatView	view = views[pick(3)];
		uint64_t	before;
		uint64_t	after;

		new_map(1 + pick(200), nlegs);
		fill(pick(100));
		before = after = 0;
		for (int j = 0; j < map.nwords * nlegs; j++)
			before = before * 31 + map.taken[j];
		check_one(view, from, to);
		check_party(view, from, to, 2 + pick(5));
		if (view != SEATS_QUIET)
			check_reaches(view);
		for (int j = 0; j < map.nwords * nlegs; j++)
			after = after * 31 + map.taken[j];
		expect(before == after, "the map was changed");
		for (int j = 0; j < map.nseats; j++)
		{
			expect(seat_map_get(&map, map.taken, j) == taken[j], "taken legs");
			expect(seat_map_find(&map, map.seat[j]) == j, "place of a seat");
			expect(seat_map_find(&map, map.seat[j] + 1) == -1, "no place");
		}
		{
			int			count = 0;

			for (int j = 0; j < map.nseats; j++)
				count += is_free(view, j, from, to);
			expect(seat_count_free(&map, view, from, to) == count, "count");
		}
		for (int j = 0; j < map.nseats; j++)
			if (held[j] != 0)
				seat_map_hold(&map, j, held[j], 0);
		for (int j = 0; j < map.nwords; j++)
			expect(map.in_flight[j] == 0, "in flight");
	}
	printf("%d maps\n", n);
}


/*
 * Synthetic lines
 */

typedef struct Demand
{
	int			from;
	int			to;
} Demand;

static Demand demand[MAX_SEATS * MAX_LEGS];

/* The length of a trip. */
static int
trip_length(int left, int kind)
{
	int			length = 1 + pick(left);

	if (kind == 1 && pick(3) > 0)	/* mostly long */
		length = left - pick(left / 2 + 1);
	if (kind == 2 && pick(3) > 0)	/* mostly short */
		length = 1 + pick((left + 3) / 4);
	return length;
}

/*
 * Make trips that fill every seat, so all of them could be seated, and shuffle
 * them; returns how many.
 */
static int
make_demand(int nseats, int nlegs, int kind)
{
	int			n = 0;

	for (int i = 0; i < nseats; i++)
		for (int leg = 0; leg < nlegs; n++)
		{
			demand[n].from = leg;
			leg += trip_length(nlegs - leg, kind);
			demand[n].to = leg;
		}
	for (int i = n - 1; i > 0; i--)
	{
		int			j = pick(i + 1);
		Demand		t = demand[i];

		demand[i] = demand[j];
		demand[j] = t;
	}
	return n;
}

typedef enum Rule
{
	RANDOM, FIRST_FIT, BEST_FIT, WITH_CHANGES, RULES
} Rule;

static int
choose(Rule rule, int from, int to, SeatPiece *pieces)
{
	SeatTrip	trip = {(uint8_t) from, (uint8_t) to, TOGETHER_ANY,
	rule == WITH_CHANGES ? MAX_LEGS - 1 : 0};
	int			start = rule == RANDOM ? pick(map.nseats) : 0;

	if (rule >= BEST_FIT)
		return seat_choose(&map, SEATS_FREE, &trip, 1, pieces);
	for (int i = 0; i < map.nseats; i++)
	{
		int			place = (start + i) % map.nseats;

		if (is_free(SEATS_FREE, place, from, to))
		{
			pieces[0].seat = place;
			pieces[0].legs = seat_trip_legs(from, to);
			return 1;
		}
	}
	return 0;
}

/* The share of the seats' legs that a rule sells, in percent. */
static double
sell(Rule rule, int n, int nseats, int nlegs, double *changes)
{
	SeatPiece	pieces[MAX_LEGS + 1];
	long		sold = 0;
	long		tickets = 0;
	long		extra = 0;

	new_map(nseats, nlegs);
	for (int i = 0; i < n; i++)
	{
		int			k = choose(rule, demand[i].from, demand[i].to, pieces);

		if (k == 0)
			continue;
		tickets++;
		extra += k - 1;
		sold += demand[i].to - demand[i].from;
		for (int j = 0; j < k; j++)
		{
			taken[pieces[j].seat] |= pieces[j].legs;
			seat_map_set(&map, map.taken, pieces[j].seat, pieces[j].legs, true);
		}
	}
	*changes = (double) extra / tickets;
	return 100.0 * sold / ((double) nseats * nlegs);
}

static void
lines(void)
{
	static const char *const kinds[] = {"any length", "mostly long", "mostly short"};
	static const int sizes[][2] = {
		{50, 8}, {100, 10}, {100, 20}, {200, 15}, {500, 20}, {1000, 20}, {1000, 40}
	};

	printf("| seats x legs | trips | random | first fit | best fit | with changes | changes a ticket |\n");
	printf("|---|---|---|---|---|---|---|\n");
	for (int kind = 0; kind < 3; kind++)
		for (int s = 0; s < 7; s++)
		{
			double		share[RULES] = {0};
			double		changes = 0;
			int			rounds = sizes[s][0] >= 500 ? 10 : 40;

			for (int round = 0; round < rounds; round++)
			{
				int			n = make_demand(sizes[s][0], sizes[s][1], kind);

				for (int rule = 0; rule < RULES; rule++)
					share[rule] += sell((Rule) rule, n, sizes[s][0],
										sizes[s][1], &changes) / rounds;
			}
			printf("| %d x %d | %s | %.2f %% | %.2f %% | %.2f %% | %.2f %% | %.3f |\n",
				   sizes[s][0], sizes[s][1], kinds[kind], share[RANDOM],
				   share[FIRST_FIT], share[BEST_FIT], share[WITH_CHANGES],
				   changes);
		}
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "check") == 0)
		check(atoi(argv[2]));
	else if (argc == 2 && strcmp(argv[1], "lines") == 0)
		lines();
	else
		return 2;
	return 0;
}
