/*
 * lease_model.c
 *		The protocol of holds, leases and settles, without PostgreSQL.
 *
 * Some simulated transactions buy, cancel, recall and so on, as coroutines.
 * Each call of step() ends an atomic step: the laws of docs/design.md are
 * checked, and a seeded random scheduler picks who goes on.  What a step may
 * do at once is what the real code does under one spinlock, one snapshot or
 * one lock of a row.  The functions of the protocol are named after those that
 * they stand for, and the arithmetic of counters and numbers is the real one,
 * src/counters.h and src/numbers.h.  An item is numbered or not, at random.
 * Files include only files further down in this list:
 *
 * lease_model.c	rounds, arguments, report
 * transactions.c	what a transaction does, and how it ends
 * orders.c			prewarm, recall, restock, what becomes of orders
 * numbered.c		numbers that are made and withdrawn
 * sale.c			purchases
 * lease.c			units between row and cache
 * tables.c			rows as a transaction sees and changes them
 * holds.c			what a transaction holds of the cache
 * cache.c			entries of the stock cache
 * steps.c			the scheduler, and waiting
 * ring.c			the order of numbers in a ring
 * laws.c			what must hold
 * partition.c		where each number of an item is
 * chance.c			random numbers
 * world.c			what all share
 * sets.h			sets of numbers
 *
 * A run is a sequence of rounds.  A round has a seed of its own, so the one
 * that fails can be run alone.  It begins with new tables and an empty cache;
 * ends when every transaction has ended; and then what is left must be on
 * sale, to the last unit.
 *
 * With --mutate the protocol is broken in a known way, which the laws must
 * notice.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chance.h"
#include "laws.h"
#include "numbered.h"
#include "ring.h"
#include "steps.h"
#include "transactions.h"
#include "world.h"
#include "model.h"

static const char *const mutations[MUTATIONS] = {
	"none: the protocol as it is",
	"an order is written without looking for the lease on the row",
	"at commit, holds are released before rows are announced",
	"holds are released before the commit is visible",
	"leased units are given to the cache before commit",
	"an entry with units or holders is evicted",
	"an entry that somebody has pinned is evicted",
	"an entry with a refiller is evicted",
	"a settle counts live orders only",
	"sold out is judged without the generation",
	"sold out is judged without holders",
	"a transaction's own uncommitted row sets the sold-out flag",
	"a recall closes a lease that has holders",
	"a recall does not hold the units that it puts on the row",
	"ROLLBACK TO SAVEPOINT gives nothing back",
	"units of a dead lease are counted in the new one",
	"a change of the row is not announced",
	"a buyer waits for the row with units of the lease on hold",
	"a new entry has the lease_id of one before it",
	"ROLLBACK TO SAVEPOINT puts numbers of the own credit into the ring",
	"ROLLBACK TO SAVEPOINT drops numbers of an outer level's credit",
	"ROLLBACK puts numbers of the own credit into the ring",
	"RELEASE SAVEPOINT does not lower the level that leased a number",
	"RELEASE SAVEPOINT does not lower the level that took a number",
	"another number is returned to the ring than was taken",
	"a refill is written over the numbers of the ring",
	"a refill leases more numbers than the ring has room for",
	"a purchase that needs more than the ring has room for tries again",
	"a recall with holders puts all unsold numbers of the lease on the row",
	"an order that ends leaves its lease",
	"a settle takes numbers of orders that ended for sold",
	"a settle takes burnt numbers for unsold",
	"a number that was told is on sale again",
	"a number of an old version of the row is sold",
	"a late payment brings back an order that was told its number",
	"a late payment sells the number that the order had",
	"a close forgets the numbers that are in the ring",
	"a close forgets the numbers of the own credit",
	"a close does not wait for those who hold numbers",
	"a number that comes back after the close is on sale",
	"a close tells the amount of a number that was told before",
	"an order is archived and its number is not withdrawn",
	"a close tells the amount of a sold number, as its order was archived",
	"an order of the open lease is archived",
};

static uint64 max_steps = 1000000;


/*
 * Rounds
 */

static void
begin_round(void)
{
	state = round_seed;
	draining = false;
	memset(entries, 0, sizeof(entries));
	forget_tables();
	nentries = 1 + below(ITEMS);
	nxids = 1;
	for (int i = 0; i < ITEMS; i++)
	{
		row_locks[i].owner = lines[i].owner = roles[i].owner = NOBODY;
		table[i] = new_item(9);
		supplied[i] = table[i].stock;
	}
	for (int i = 0; i < ORDERS; i++)
		order_locks[i].owner = NOBODY;
	table_lock.owner = NOBODY;
	look_at_tables();
	for (int i = 0; i < ntxns; i++)
		txns[i].left = 1 + below(4);
}

/* Everybody has ended: all that is left must be on sale. */
static void
end_round(void)
{
	draining = true;
	txns[0].left = 1;
	run_all();
	for (int i = 0; i < ITEMS; i++)
		if (unsold[i] != 0)
			broken("units are left and cannot be bought", i);
	for (int i = 0; i < nentries; i++)
		if (entries[i].live && (!counters_idle(&entries[i].c) ||
								entries[i].refilling))
			broken("held, refiller or units are left", entries[i].item);
	counts[ROUNDS]++;
}

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static void
report(const char *what, double start)
{
	printf("%s: %llu steps, %llu rounds, %llu sales, %llu refusals, %llu crashes, %llu errors, %llu deadlocks, %llu settles, %llu stale, %llu numbers, %llu burnt, %llu closes, %llu archived, %llu full rings; %.1f s\n",
		   what, (unsigned long long) steps,
		   (unsigned long long) counts[ROUNDS],
		   (unsigned long long) counts[SALES],
		   (unsigned long long) counts[REFUSALS],
		   (unsigned long long) counts[CRASHES],
		   (unsigned long long) counts[ERRORS],
		   (unsigned long long) counts[DEADLOCKS],
		   (unsigned long long) counts[SETTLES],
		   (unsigned long long) counts[STALE],
		   (unsigned long long) counts[NUMBERED],
		   (unsigned long long) counts[BURNS],
		   (unsigned long long) counts[CLOSES],
		   (unsigned long long) counts[ARCHIVED],
		   (unsigned long long) counts[FULL_RINGS], seconds() - start);
	fflush(stdout);
}

static void
run(void)
{
	static double start;
	static uint64 next_report;

	start = seconds();
	check_ring();
	next_report = 10000000;
	for (int i = 0; i < ntxns; i++)
		start_coroutine(&txns[i], run_transactions);
	for (round_seed = seed; steps < max_steps; round_seed++)
	{
		begin_round();
		run_all();
		end_round();
		if (steps >= next_report)
		{
			report("running", start);
			next_report += 10000000;
		}
	}
	report("all laws hold", start);
}

static void
__attribute__((noreturn))
usage(void)
{
	fprintf(stderr, "usage: lease_model [--seed N] [--steps N] [--txns 1..%d] [--mutate 0..%d] [--list]\n",
			MAX_TXNS, MUTATIONS - 1);
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
	for (int i = 1; i < argc; i += 2)
	{
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--list") == 0)
		{
			for (int m = 0; m < MUTATIONS; m++)
				printf("%d %s\n", m, mutations[m]);
			return 0;
		}
		else if (strcmp(argv[i], "--seed") == 0)
			seed = number(value, 0, UINT64_MAX);
		else if (strcmp(argv[i], "--steps") == 0)
			max_steps = number(value, 1, UINT64_MAX);
		else if (strcmp(argv[i], "--txns") == 0)
			ntxns = (int) number(value, 1, MAX_TXNS);
		else if (strcmp(argv[i], "--mutate") == 0)
			mutation = (Mutation) number(value, 0, MUTATIONS - 1);
		else
			usage();
	}
	run();
	return 0;
}
