/*
 * partition.c
 *		The law that each number of an item is in exactly one place: on the
 *		row, unsold in the open lease, in a live or burnt order, or withdrawn.
 *
 * The functions return the law that is broken, or NULL.
 */
#include "partition.h"
#include "sets.h"
#include "world.h"

/* computed from the tables by partition_of_tables() */
static NumberSet unsold_numbers[ITEMS]; /* of the open lease */

/* Check that the amount of each withdrawn number is reported once, or owed. */
static const char *
check_withdrawn(const ItemRow *row, int item)
{
	if ((row->owed & refunded[item]) != 0)
		return "the amount of a number is reported twice";
	if ((archived[item] & (row->owed | refunded[item])) != 0)
		return "the amount of a sold number is reported";
	if (row->withdrawn != (row->owed | refunded[item] | archived[item]))
		return "a withdrawn number is neither reported, nor owed, nor archived";
	return NULL;
}

/* Check the tables, after each commit. */
const char *
partition_of_tables(int item, int32 unsold_on_lease)
{
	const ItemRow *row = &table[item];
	NumberSet	all = set_up_to(row->supplied + set_count(row->withdrawn));
	NumberSet	found = row->free | row->withdrawn;
	NumberSet	twice = row->free & row->withdrawn;

	for (int k = 0; k < norders; k++)
		if (orders[k].item == item &&
			(orders[k].state == LIVE || orders[k].state == BURNT))
		{
			twice |= found & set_of(orders[k].number);
			found |= set_of(orders[k].number);
		}
	if (twice != 0)
		return "a number is in two places";
	if ((found & ~all) != 0)
		return "there is a number that was never made";
	if (row->supplied != supplied[item])
		return "supplied is not the count of numbers made and not withdrawn";
	if (row->closed && (row->stock > 0 || unsold_on_lease > 0))
		return "units are on sale after the close";
	if (set_count(row->free) != row->stock)
		return "stock is not the count of free numbers";
	unsold_numbers[item] = all & ~found;
	if (set_count(unsold_numbers[item]) != unsold_on_lease)
		return "a number is missing, or the lease has too many";
	return check_withdrawn(row, item);
}

/* Numbers of a lease that a check has found. */
typedef struct Found
{
	NumberSet	numbers;
	int32		held;
	bool		twice;
} Found;

static void
find_number(Found *found, int32 number)
{
	if (number < 1 || number > NUMBERS ||
		(found->numbers & set_of(number)) != 0)
		found->twice = true;
	else
		found->numbers |= set_of(number);
}

/*
 * Collect the numbers that t holds and that are unsold in the lease, as the
 * committed tables show it: before its commit, those that it took from the
 * ring; after it, those of its credit.
 */
static void
find_held(Found *found, const Txn *t, const Entry *entry)
{
	for (int k = 0; k < t->nheld; k++)
	{
		const HeldNumber *held = &t->held[k];
		bool		from_ring = held->hold.leased_level == 0;

		if (held->entry != entry || held->lease_id != entry->c.lease_id)
			continue;
		found->held += from_ring || held->hold.credit;
		if (t->visible ? held->hold.credit : from_ring)
			find_number(found, held->hold.number);
	}
}

/* Check an entry, after each step. */
const char *
partition_of_entry(const Entry *entry)
{
	const ItemRow *row = &table[entry->item];
	Found		found = {0};

	if (!row->numbered)
		return NULL;
	if (entry->c.avail < 0 || ring_room(&entry->c) < 0)
		return "the ring is too small for the units on sale and held";
	for (int32 i = 0; i < entry->c.avail; i++)
		find_number(&found,
					entry->ring.numbers[ring_place(entry->ring.head + i)]);
	for (int i = 0; i < ntxns; i++)
		find_held(&found, &txns[i], entry);
	if (found.twice)
		return "a number is in the ring or on hold twice";
	if (found.held != entry->c.held)
		return "held is not the count of numbers on hold";
	if (found.numbers != (row->lease_id == entry->c.lease_id ?
						  unsold_numbers[entry->item] : 0))
		return "ring and holds do not have the numbers of the lease";
	return NULL;
}

/* Check a committed order: a revealed number is never given to another. */
const char *
hand_out(const Order *before, const Order *now)
{
	bool		handed = now->state == LIVE && now->number != 0 &&
		(before == NULL || before->state != LIVE ||
		 before->number != now->number);

	if (before != NULL && before->state == BURNT && now->state == LIVE)
		return "an order that ended with its number revealed is live again";
	if (handed && (told[now->item] & set_of(now->number)) != 0)
		return "a revealed number is given to another order";
	if (now->told)
		told[now->item] |= set_of(now->number);
	return NULL;
}
