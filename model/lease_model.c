/*
 * lease_model.c
 *		A model of holds, leases and settles that runs without PostgreSQL.
 *
 * Simulated transactions buy, cancel, recall and so on.  Each runs as a
 * coroutine.  Each call of step() ends an atomic step: the model checks the
 * laws of docs/design.md, and a seeded random scheduler picks the transaction
 * that continues.  A step does at most what the extension does under one
 * spinlock, one snapshot or one row lock.  A function of the protocol has the
 * name of the function of the extension that it stands for, without seckill_.
 * The arithmetic of counters and numbers is not copied: the model includes
 * src/shmem/counters.h and src/shmem/numbers.h.  Items are numbered or not, at
 * random.
 *
 * A file includes only headers of files further down in this list;
 * scripts/check-layers.pl checks that:
 *
 * lease_model.c	rounds, arguments, report
 * transactions.c	operations of a transaction, commit and abort
 * orders.c			prewarm, recall, restock, changes of orders
 * list.c			calls for many: lists of purchases
 * numbered.c		numbers that are made and withdrawn
 * sale.c			purchases
 * lease.c			moving units between row and cache
 * tables.c			rows as a transaction sees and changes them
 * holds.c			units of the cache that a transaction has on hold
 * cache.c			entries of the stock cache
 * steps.c			the scheduler, and waiting
 * ring.c			test of the ring of numbers
 * laws.c			the laws that must hold
 * partition.c		the law that each number is in one place
 * world.c			state that all transactions share
 * model.h			types
 * chance.c			random numbers
 * sets.h			sets of numbers
 * types.h			integers
 *
 * A run is a sequence of rounds.  Each round has its own seed, so a round that
 * fails can be run alone.  A round begins with new tables and an empty cache
 * and ends when every transaction has ended.  Then all units that are left
 * must be on sale, to the last one.
 *
 * --mutate breaks the protocol in a known way, which the laws must detect.
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
	"none: the unbroken protocol",
	"an order is inserted without checking the lease on the row",
	"at commit, holds are released before row changes are announced",
	"holds are released before the commit is visible",
	"leased units are added to the cache before commit",
	"an entry with units or holders is evicted",
	"a pinned entry is evicted",
	"an entry with a refiller is evicted",
	"a settle counts live orders only",
	"sold out is decided without checking the generation",
	"sold out is decided without counting holders",
	"a transaction's own uncommitted row sets the sold-out flag",
	"a recall closes a lease that has holders",
	"a recall does not hold the units that it returns to the row",
	"ROLLBACK TO SAVEPOINT does not return units on hold",
	"units of a dead lease are counted in the new lease",
	"a change of the row is not announced",
	"a buyer waits for the row lock with units of the lease on hold",
	"a new entry reuses an old lease_id",
	"ROLLBACK TO SAVEPOINT puts numbers of its own credit into the ring",
	"ROLLBACK TO SAVEPOINT drops numbers of an outer level's credit",
	"ROLLBACK puts numbers of its own credit into the ring",
	"RELEASE SAVEPOINT does not lower the level that leased a number",
	"RELEASE SAVEPOINT does not lower the level that took a number",
	"a number other than the one taken is returned to the ring",
	"a refill overwrites the numbers of the ring",
	"a refill leases more numbers than the ring has room for",
	"a purchase that needs more than the ring has room for retries",
	"a recall with holders puts all unsold numbers of the lease on the row",
	"an order that ends loses its lease_id",
	"a settle counts the numbers of ended orders as sold",
	"a settle counts burnt numbers as unsold",
	"a revealed number is put back on sale",
	"a number of an old version of the row is sold",
	"a late payment revives an order whose number was revealed",
	"a late payment sells the number that the order had before",
	"a close ignores the numbers in the ring",
	"a close ignores the numbers of its own credit",
	"a close does not wait for the holders of numbers",
	"a number that is returned after the close is put on sale",
	"a close reports the amount of a number twice",
	"an order is archived without withdrawing its number",
	"a close reports the amount of a sold number whose order was archived",
	"an order of the open lease is archived",
	"a list waits for units with other units of the item on hold",
	"a list is told what is left without proof",
	"calls for several items serve them in any order",
	"a ring is taken from an entry that a holder can get units back for",
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
	nrings = 1 + below(ITEMS);
	nxids = 1;
	for (int i = 0; i < ITEMS; i++)
	{
		row_locks[i].owner = item_locks[i].owner = NOBODY;
		refill_locks[i].owner = NOBODY;
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

/* All transactions have ended: the units that are left must be on sale. */
static void
end_round(void)
{
	draining = true;
	txns[0].left = 1;
	run_all();
	for (int i = 0; i < ITEMS; i++)
		if (unsold[i] != 0)
			broken("units are left that cannot be bought", i);
	for (int i = 0; i < nentries; i++)
		if (entries[i].live && (!counters_idle(&entries[i].c) ||
								entries[i].refilling))
			broken("an entry still has units, holds or a refiller",
				   entries[i].item);
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
	printf("%s: %llu steps, %llu rounds, %llu sales, %llu refusals, %llu crashes, %llu errors, %llu deadlocks, %llu settles, %llu stale, %llu numbers, %llu burnt, %llu closes, %llu archived, %llu full rings, %llu lists; %.1f s\n",
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
		   (unsigned long long) counts[FULL_RINGS],
		   (unsigned long long) counts[LISTS], seconds() - start);
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
