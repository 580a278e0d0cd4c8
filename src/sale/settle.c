/*
 * settle.c
 *		Settling an item: making its locked row and its cache entry agree.
 *
 * A row with leased > 0 and a lease_id that no cache entry has, has a dead
 * lease: the entry was lost to a restart, a crash, a promotion or a restore,
 * or has closed that lease.  No transaction can hold units of it, as an entry
 * with holders is never given up.  So under the row lock the units of orders
 * that carry the lease are counted, and the others return to the row.
 *
 * Where units have numbers, the numbers to return are all of this node's that
 * are nowhere else: not on the row, not off sale, with no order, and not on
 * their way in a call of this session whose statement has fired the trigger
 * that settles.  Their count must agree with the count of units.
 *
 * Everything here runs under the lock of the item's row.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/fault.h"
#include "base/number_set.h"
#include "sale/settle.h"
#include "sale/share.h"
#include "seckill.h"
#include "shmem/cache_counters.h"
#include "shmem/stat.h"
#include "table/items.h"
#include "table/numbered_items.h"
#include "table/orders.h"
#include "table/unit_scan.h"
#include "xact/changes.h"
#include "xact/entry.h"

/* Set the bits of the numbers in a set, up to n. */
static void
set_bits(uint8 *bits, int64 n, const NumberSet *set)
{
	for (int i = 0; i < set->n; i++)
		for (int64 number = set->ranges[i].first;
			 number <= set->ranges[i].last && number <= n; number++)
			bits[number / 8] |= 1 << number % 8;
}

/* Set the bits of the numbers that are on their way between two places. */
static void
set_moving(uint8 *bits, int64 n, int64 item_id)
{
	const int32 *numbers;
	int			at = 0;
	int			count;

	while ((numbers = seckill_change_next_moving(item_id, &at, &count)) != NULL)
		for (int i = 0; i < count; i++)
			if (numbers[i] <= n)
				bits[numbers[i] / 8] |= 1 << numbers[i] % 8;
}

/*
 * Those of a node's own numbers of an item that are neither on its locked row
 * nor off sale, that no order has, and that are not on their way.
 */
NumberSet *
seckill_settle_numbers(int64 item_id, const ItemRow *row, const NumberSet *own)
{
	int64		n = own->n > 0 ? own->ranges[own->n - 1].last : 0;
	uint8	   *bits = palloc_extended(n / 8 + 1,
									   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	NumberSet  *set = seckill_numbers_make();

	set_bits(bits, n, row->numbers);
	set_bits(bits, n, row->off_sale);
	seckill_unit_scan_ordered(item_id, bits, n);
	set_moving(bits, n, item_id);
	for (int i = 0; i < own->n; i++)
		for (int64 number = own->ranges[i].first;
			 number <= own->ranges[i].last; number++)
			if ((bits[number / 8] & 1 << number % 8) == 0)
				seckill_numbers_append(set, (int32) number, (int32) number);
	pfree(bits);
	return set;
}

/*
 * Close the dead lease of a locked row whose units have numbers; updates its
 * set of numbers.  Raises an error if the numbers are not as many as the
 * unsold units.  More of them are most likely those of orders that were
 * deleted without the trigger that takes their numbers off sale; which these
 * are, only the orders say.
 */
static void
close_numbered(int64 item_id, ItemRow *row, int64 unsold)
{
	NumberSet  *set = seckill_settle_numbers(item_id, row,
											 seckill_share_numbers(item_id, row));
	int64		n = seckill_numbers_count(set);

	if (n != unsold)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("numbers of item " INT64_FORMAT " do not agree with its lease",
						item_id),
				 errdetail(INT64_FORMAT " units are unsold, " INT64_FORMAT " numbers are in no other place.",
						   unsold, n),
				 n > unsold ?
				 errhint("If orders were deleted while triggers were disabled, insert them again, and delete them with triggers.") :
				 errhint("See seckill_audit() and what changed seckill.items or seckill.orders by hand.")));
	seckill_numbered_close_lease(item_id, set);
	seckill_numbers_merge(row->numbers, set);
}

/*
 * Return the unsold units of a dead lease to the locked row, and update *row.
 * Raises an error if more units are ordered than were leased.
 */
static void
settle_dead_lease(int64 item_id, ItemRow *row)
{
	int64		sold = seckill_orders_sold_on_lease(item_id, row->lease_id);
	int64		unsold = row->leased - sold;

	if (unsold < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("item " INT64_FORMAT " has more orders under its lease than units leased",
						item_id),
				 errdetail("%d units leased, " INT64_FORMAT " sold.",
						   row->leased, sold),
				 errhint("See seckill_audit() and what changed seckill.items or seckill.orders by hand.")));
	if (row->rules.numbered)
		close_numbered(item_id, row, unsold);
	else
		seckill_item_close_lease(item_id, (int32) unsold);
	SECKILL_FAULT("dead lease closed");
	seckill_stat_count(SECKILL_STAT_SETTLES, 1);
	seckill_stat_count(SECKILL_STAT_SETTLED_UNITS, unsold);
	ereport(LOG,
			(errmsg("settled item " INT64_FORMAT ": " INT64_FORMAT " of %d leased units returned to stock",
					item_id, unsold, row->leased)));
	row->stock += (int32) unsold;
	row->leased = 0;
	row->lease_id = 0;
	row->version++;
}

/*
 * Make the cache entry and the row agree.  The caller has locked the row.  A
 * stale lease of the entry is renewed; a dead lease of the row is closed, and
 * *row is updated.  A purchase without an entry looks it up first, and pins
 * it: the lease on the row may belong to an entry that was made since.
 */
void
seckill_settle(Purchase *p, ItemRow *row)
{
	if (p->entry == NULL)
		p->entry = seckill_entry_find(p->item_id);
	if (p->entry != NULL && seckill_cache_is_stale(p->entry, row))
		seckill_cache_renew_lease(p->entry, seckill_cache_lease_id(p->entry));
	if (row->leased > 0 &&
		(p->entry == NULL ||
		 row->lease_id != seckill_cache_lease_id(p->entry)))
		settle_dead_lease(p->item_id, row);
}
