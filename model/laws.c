/*
 * laws.c
 *		The laws that must hold after each commit and after each step.
 *
 * A broken law prints the last steps and the arguments that replay the round,
 * and ends the run.
 */
#include <stdio.h>
#include <stdlib.h>

#include "laws.h"
#include "partition.h"
#include "world.h"

#define SHOWN		60			/* steps that are printed */

/* derived from the tables by look_at_tables() */
static int32 sold[ITEMS];		/* on the open lease */
int32		unsold[ITEMS];		/* on the row and in its lease */

uint64		round_seed;
uint64		steps;

Trace		trace[TRACE];


/*
 * Laws
 */

/* Print the numbers of a numbered item. */
static void
print_numbers(const Trace *s)
{
	if (!s->row.numbered)
		return;
	printf("  free %llx withdrawn %llx ring", (unsigned long long) s->row.free,
		   (unsigned long long) s->row.withdrawn);
	for (int32 i = 0; i < s->entry.c.avail && i < NUMBERS_RING; i++)
		printf(" %d",
			   s->entry.ring.numbers[ring_place(s->entry.ring.head + i)]);
}

static void
print_trace(void)
{
	uint64		first = steps > SHOWN ? steps - SHOWN : 0;

	for (uint64 i = first; i < steps; i++)
	{
		const Trace *s = &trace[i % TRACE];

		if (s->step != i)
			continue;
		printf("%10llu  txn %d item %d  %-28s row %d+%d lease %lld  cache %d held %d lease %lld gen %llu%s%s",
			   (unsigned long long) i, s->txn, s->item, s->what,
			   s->row.stock, s->row.leased, (long long) s->row.lease_id,
			   s->entry.c.avail, s->entry.c.held,
			   (long long) s->entry.c.lease_id,
			   (unsigned long long) s->entry.c.generation,
			   s->entry.sold_out ? " SOLD OUT" : "",
			   s->entry.live ? "" : " (none)");
		print_numbers(s);
		printf("\n");
	}
}

void
__attribute__((noreturn))
broken(const char *law, int item)
{
	print_trace();
	printf("BROKEN: %s (item %d, step %llu). Replay: --seed %llu --txns %d --mutate %d --steps 1\n",
		   law, item, (unsigned long long) steps,
		   (unsigned long long) round_seed, ntxns, mutation);
	exit(1);
}

static void
require(const char *broken_law, int item)
{
	if (broken_law != NULL)
		broken(broken_law, item);
}

/*
 * After each commit: check conservation, and compute sold and unsold for the
 * next checks.
 */
void
look_at_tables(void)
{
	for (int i = 0; i < ITEMS; i++)
	{
		const ItemRow *row = &table[i];
		int32		live = 0;	/* units of live and burnt orders */

		sold[i] = 0;
		for (int k = 0; k < norders; k++)
			if (orders[k].item == i && orders[k].state != DELETED)
			{
				live += orders[k].state != ENDED ? orders[k].units : 0;
				if (row->lease_id != 0 && orders[k].lease_id == row->lease_id)
					sold[i] += orders[k].units;
			}
		unsold[i] = row->stock + row->leased - sold[i];
		if (row->stock < 0 || row->leased < 0)
			broken("stock or leased is negative", i);
		if (row->leased < sold[i])
			broken("the lease has sold more units than it has", i);
		if (live > supplied[i])
			broken("oversold", i);
		if (unsold[i] + live != supplied[i])
			broken("conservation is violated", i);
		if (row->numbered)
			require(partition_of_tables(i, row->leased - sold[i]), i);
	}
}

/*
 * After each step: held is the number of units that transactions hold; the
 * units that the row has leased and not sold are in the cache or on hold; and
 * the entry is marked as refilling if and only if a transaction refills it.
 */
void
check_entry(const Entry *entry)
{
	const ItemRow *row = &table[entry->item];
	int32		held = 0;
	int32		units = entry->c.avail;
	bool		refilling = false;

	for (int i = 0; i < ntxns; i++)
	{
		const Txn  *t = &txns[i];

		if (t->visible && t->work.emptied)
			return;				/* it will drop the entry */
		for (int k = 0; k < t->nholds; k++)
		{
			const Hold *hold = &t->holds[k];

			if (hold->entry != entry)
				continue;
			refilling |= hold->refiller;
			if (hold->lease_id != entry->c.lease_id)
				continue;
			held += hold->hold + hold->credit;
			units += t->visible ? hold->credit : hold->hold;
		}
	}
	if (entry->c.held != held)
		broken("held is not the number of units on hold", entry->item);
	if (units != (row->lease_id == entry->c.lease_id ?
				  row->leased - sold[entry->item] : 0))
		broken("cache and holds do not have the units leased", entry->item);
	if (entry->refilling != refilling)
		broken("the refilling flag is wrong", entry->item);
	require(partition_of_entry(entry), entry->item);
}

/* Check an order that is committed; before is NULL if it is new. */
void
note_order(const Order *before, const Order *now)
{
	require(hand_out(before, now), now->item);
}

/*
 * Returns how many units a call could get at this moment: all committed units
 * that are not sold, including those on hold.  Units that a commit frees count
 * once its callbacks have run, because its client has no answer before.
 */
int32
reach(const Txn *t, int item)
{
	const Work *work = &t->work;
	int32		units = unsold[item] + work->freed[item] - work->used[item];

	for (int i = 0; i < ntxns; i++)
		if (txns[i].visible)
			units -= txns[i].work.freed[item];
	return units;
}

/* Update the least reach of all running calls. */
void
note_reach(void)
{
	for (int i = 0; i < ntxns; i++)
	{
		Txn		   *t = &txns[i];

		if (t->calling && reach(t, t->item) < t->least)
			t->least = reach(t, t->item);
	}
}
