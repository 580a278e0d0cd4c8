/*
 * split_model.c
 *		A model of one item that is sold on many nodes.
 *
 * The state is one struct without pointers.  Buyers, cancels, share workers and
 * so on are processes that take one atomic step at a time; a step does at most
 * what one transaction commits on one node.  A random run picks the next step
 * by the clock and draws what else can happen; an exhaustive run tries every
 * order of steps and every choice.  Both run the same code.
 *
 * A file includes only headers of files further down in this list;
 * scripts/check-layers.pl checks that:
 *
 * split_model.c	arguments, report
 * random.c			sales with random steps, clocks and faults
 * explore.c		all orders of steps of tiny sales
 * nodes.c			nodes that start, crash, are restored or left out
 * buyer.c			purchases
 * returns.c		cancels, restocks, seckill_set_available()
 * driver.c			share workers, and the calls that they make
 * sync.c			transactions that move units, and prove sold_out
 * laws.c			the laws that must hold
 * share.c			the share of a node: row, cache, orders
 * network.c		messages between nodes
 * world.c			the state, and choices
 * split.h			types
 * ../chance.c		random numbers
 * ../sets.h		sets of numbers
 *
 * --mutate breaks the protocol in a known way, which the laws must detect.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../chance.h"
#include "buyer.h"
#include "driver.h"
#include "explore.h"
#include "laws.h"
#include "network.h"
#include "nodes.h"
#include "random.h"
#include "returns.h"
#include "world.h"

static const char *const mutations[MUTATIONS] = {
	"none: the unbroken protocol",
	"a caller takes the units that a reply gives, not up to its total",
	"a giver counts units as sent and has them still",
	"a short node says sold_out without asking",
	"a satellite without units makes no promise",
	"a satellite judges without counting units on hold",
	"home's proof ignores units in transit",
	"home compares totals when an answer arrives, not at the end of the round",
	"home proves without locking the row, and a grant ends the proof before its commit",
	"a buyer on home looks at the row, and later whether everything is home",
	"messages of a former life of a node are accepted",
	"a restored node goes on with the totals of its copy",
	"home gives units and still says that everything is home",
	"home makes no promise with a certificate",
	"a certificate is used longer than it lasts",
	"a rejoin that did not end is not begun again",
	"two workers of a restored node both rejoin",
	"a restored satellite rejoins by what a former life of home has told (rare)",
	"incarnations must be equal (rare)",
	"a node answers and sells right after its start",
	"promises are made while a return is under way",
	"the time of a certificate counts from its arrival",
	"fewer is believed from an ask before the call",
	"a return does not wait for the end of a promise",
	"a return waits for the end of a promise before it takes the gate",
	"the maintenance worker's mark does not stop promises",
	"the mark does not stop the promise that home makes with its proof",
	"a restored node uses order ids again",
	"a restored node skips a fixed number of order ids",
	"a restored node takes the incarnation after the last that is known (rare)",
	"a node sells to users of other nodes",
	"the lock on the user is not held",
	"the lock on the request is not held",
	"a retry is refused before its request is looked up",
	"a satellite judges without counting units of the cache",
	"a satellite judges without counting units of a lost lease",
	"a recall closes a lease that has holders",
	"a restored node rejoins while transactions hold units (rare)",
	"numbers are given before the last ones have arrived",
	"numbers are taken in without comparing totals",
	"a settle takes numbers of other shares",
	"a restored node keeps the numbers of its copy",
	"a satellite rejoins at a home that is recovering",
	"a restored home forgets numbers in transit",
	"a number that a buyer knows is sold again",
	"a node that was left out and is back is not asked for its units",
};

static uint64 max_steps = 1000000;
static uint64 first_seed = 1;
static uint64 max_states = 2000000;
static uint64 only_case;		/* 0: all */
static bool exploring;

static void
give_up_here(const char *law)
{
	if (sale.exploring)
		print_path();
	else
		print_trace();
	printf("BROKEN: %s. Replay: --mutate %d", law, mutation);
	if (sale.exploring)
		printf(" --explore --states %llu\n", (unsigned long long) max_states);
	else
	{
		if (fault_ms > 0)
			printf(" --faults %lld", (long long) fault_ms);
		printf(" --seed %llu --steps 1\n", (unsigned long long) sale_seed);
	}
	exit(1);
}

static void
print_count(const char *name, uint64 value)
{
	printf(", %llu %s", (unsigned long long) value, name);
}

static void
run_random(void)
{
	for (sale_seed = first_seed; steps < max_steps; sale_seed++)
		play_sale();
	printf("all laws hold: %llu steps", (unsigned long long) steps);
	print_count("sales", sales);
	print_count("calls", calls);
	print_count("lost", lost_messages);
	print_count("rounds", rounds);
	print_count("transfers", transfers);
	print_count("crashes", crashes);
	print_count("restores", restores);
	print_count("left out", given_up);
	print_count("sold", outcomes[SOLD]);
	print_count("sold_out", outcomes[SOLD_OUT]);
	print_count("remembered", remembered);
	print_count("busy", outcomes[BUSY]);
	print_count("refused", outcomes[LIMIT_REACHED]);
	print_count("moved", outcomes[MOVED]);
	print_count("returns", returns);
	print_count("exact cuts", exact_cuts);
	print_count("lost orders", lost_orders);
	print_count("short", shortfalls);
	printf("; longest return %lld ms; %.1f s\n",
		   (long long) longest_return / 1000,
		   (double) clock() / CLOCKS_PER_SEC);
}

static void
run_explore(void)
{
	for (int i = 0; i < ncases(); i++)
		if (only_case == 0 || (uint64) i == only_case - 1)
			(void) explore(i, max_states);
	printf("all laws hold: %.1f s\n", (double) clock() / CLOCKS_PER_SEC);
}

static void
__attribute__((noreturn))
usage(void)
{
	fprintf(stderr, "usage: split_model [--seed N] [--steps N] [--faults MS] [--explore] [--states N] [--case N] [--mutate 0..%d] [--list]\n",
			MUTATIONS - 1);
	exit(2);
}

static uint64
number(const char *text, uint64 min, uint64 max)
{
	char	   *end;
	uint64		value = strtoull(text, &end, 10);

	if (*text == '\0' || *end != '\0' || value < min || value > max)
		usage();
	return value;
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
	{
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--list") == 0)
		{
			for (int m = 0; m < MUTATIONS; m++)
				printf("%d %s\n", m, mutations[m]);
			return 0;
		}
		if (strcmp(argv[i], "--explore") == 0)
		{
			exploring = true;
			continue;
		}
		if (strcmp(argv[i], "--seed") == 0)
			first_seed = number(value, 0, UINT64_MAX);
		else if (strcmp(argv[i], "--steps") == 0)
			max_steps = number(value, 1, UINT64_MAX);
		else if (strcmp(argv[i], "--states") == 0)
			max_states = number(value, 1, UINT64_MAX);
		else if (strcmp(argv[i], "--case") == 0)
			only_case = number(value, 1, (uint64) ncases());
		else if (strcmp(argv[i], "--faults") == 0)
			fault_ms = (int64) number(value, 1, 10000);
		else if (strcmp(argv[i], "--mutate") == 0)
			mutation = (Mutation) number(value, 0, MUTATIONS - 1);
		else
			usage();
		i++;
	}
	give_up = give_up_here;
	if (exploring)
		run_explore();
	else
		run_random();
	return 0;
}
