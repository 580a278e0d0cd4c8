/*
 * values.c
 *		Units with values: put on sale, withdrawn at the end, revealed.
 *
 * Units are added in the caller's transaction, under the item lock and the row
 * lock, at any time of the sale.  Codes that the item has already, or that are
 * twice in the list, are left out.  With a seed, a commitment to the values is
 * written, which says nothing of them until the seed is revealed.
 *
 * A sale is closed once: it ends, and what is left is taken off sale.  Units
 * that come back later, from orders that are cancelled, are taken off by the
 * next close.  So each unit that nobody gets is told once.
 *
 * Seeds are revealed when no unit can be sold any more: the sale is over, no
 * unit is on the row, in the lease or planned, and no order can give one back
 * by not being paid.  From then on no unit is put on sale and the sale is not
 * opened again.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/fault.h"
#include "sale/item.h"
#include "scenario/commitment.h"
#include "scenario/values.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "table/commitments.h"
#include "table/items.h"
#include "table/orders.h"
#include "table/releases.h"
#include "table/units.h"
#include "xact/changes.h"

/*
 * Adding
 */

/* A code of the list, and its place there. */
typedef struct CodePlace
{
	const text *code;
	int			place;
} CodePlace;

/* By code, and equal ones in the order of the list. */
static int
compare_codes(const void *a, const void *b)
{
	const CodePlace *p = a;
	const CodePlace *q = b;
	int			length = (int) VARSIZE_ANY_EXHDR(p->code);
	int			other = (int) VARSIZE_ANY_EXHDR(q->code);
	int			order = memcmp(VARDATA_ANY(p->code), VARDATA_ANY(q->code),
							   Min(length, other));

	if (order == 0)
		order = length - other;
	if (order == 0)
		order = p->place < q->place ? -1 : p->place > q->place;
	return order;
}

static bool
same_code(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* Mark those of n values whose code stands before them in the list. */
static void
mark_repeated(const UnitValue *values, int n, bool *skipped)
{
	CodePlace  *places = palloc_extended(Max(n, 1) * sizeof(CodePlace),
										 MCXT_ALLOC_HUGE);
	int			count = 0;

	for (int i = 0; i < n; i++)
		if (values[i].code != NULL)
		{
			places[count].code = values[i].code;
			places[count++].place = i;
		}
	qsort(places, count, sizeof(CodePlace), compare_codes);
	for (int i = 1; i < count; i++)
		if (same_code(places[i - 1].code, places[i].code))
			skipped[places[i].place] = true;
	pfree(places);
}

static bool
is_blank(const UnitValue *value)
{
	return value->code == NULL && !value->has_prize && !value->has_amount;
}

/*
 * Write the n values that are not skipped, for numbers from first on.  A blank
 * has a number, but no row.
 */
static void
write_values(int64 item_id, int32 first, const UnitValue *values,
			 const bool *skipped, int n)
{
	int32	   *units = palloc_extended(Max(n, 1) * sizeof(int32),
										MCXT_ALLOC_HUGE);
	UnitValue  *written = palloc_extended(Max(n, 1) * sizeof(UnitValue),
										  MCXT_ALLOC_HUGE);
	int32		unit = first;
	int			count = 0;

	for (int i = 0; i < n; i++)
	{
		if (skipped[i])
			continue;
		if (!is_blank(&values[i]))
		{
			units[count] = unit;
			written[count++] = values[i];
		}
		unit++;
	}
	seckill_units_insert(item_id, units, written, count);
	pfree(units);
	pfree(written);
}

/* Refuse to add units whose numbers have values that somebody has written. */
static void
check_no_values(int64 item_id, int32 first)
{
	if (seckill_units_any_from(item_id, first))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("units of item " INT64_FORMAT " that are not supplied yet have values already",
						item_id),
				 errdetail("The next number is %d.", first),
				 errhint("Supply units for values that were written by hand with seckill_restock().")));
}

/* Write the commitment to what the numbers from first to last are worth. */
static void
commit_to(int64 item_id, int32 first, int32 last, const bytea *seed)
{
	int			undescribed;
	bytea	   *commitment = seckill_commitment_compute(item_id, first, last,
														seed, &undescribed);

	if (undescribed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%d prizes of the units are not described", undescribed),
				 errhint("A commitment covers the titles of prizes: insert them into seckill.prizes first.")));
	seckill_commitments_insert(item_id, first, last, commitment, seed);
	SECKILL_FAULT("commitment written");
}

/*
 * Add so many new numbers to the locked row, on sale at once or from a time on;
 * returns the first one.
 */
static int32
add_numbers(int64 item_id, ItemRow *row, int32 units, TimestampTz release_at)
{
	int32		first;

	if (release_at == DT_NOBEGIN)
		return seckill_item_add_numbers(item_id, row, units);
	first = seckill_item_hide_numbers(item_id, row, units);
	seckill_releases_insert(item_id, release_at, first, units);
	return first;
}

/*
 * Put units with these n values on sale, at once if release_at is DT_NOBEGIN,
 * or at that time.  skipped, an array of n, tells which
 * values were left out because their codes are there already.  A commitment is
 * written if seed is not NULL.  Returns how many were added, and in *first
 * the number of the first one, 0 if there is none.
 */
int
seckill_values_add(int64 item_id, const UnitValue *values, int n,
				   const bytea *seed, TimestampTz release_at, bool *skipped,
				   int32 *first)
{
	Purchase	p;
	ItemRow		row;
	int			added = n;

	seckill_item_lock_numbered(&p, item_id, &row);
	seckill_unit_scan_known(item_id, values, n, skipped);
	mark_repeated(values, n, skipped);
	for (int i = 0; i < n; i++)
		added -= skipped[i];
	*first = 0;
	if (added > 0)
	{
		seckill_change_begin_work(item_id);
		*first = add_numbers(item_id, &row, added, release_at);
		check_no_values(item_id, *first);
		write_values(item_id, *first, values, skipped, n);
		if (seed != NULL)
			commit_to(item_id, *first, *first + added - 1, seed);
		seckill_change_end_work(1);
	}
	seckill_cache_unpin(p.entry);
	return added;
}


/*
 * Closing
 */

/* Raise an error if other nodes sell the item, too. */
static void
check_not_split(int64 item_id, const ItemRow *row, const char *what)
{
	if (row->rules.split.n > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("item " INT64_FORMAT " is split over nodes, and cannot be %s",
						item_id, what),
				 errhint("CALL seckill_gather(" INT64_FORMAT ", 0) on its home takes all units that are left off sale. When its sale is over, CALL seckill_unsplit(" INT64_FORMAT ").",
						 item_id, item_id)));
}

/*
 * End the sale of an item, take all units that are left off sale, and cancel
 * releases that are not done; those of numbers are of units that are left, too.
 * Waits for the transactions that hold some.  Returns the number of these
 * units, and the sum of their amounts in *amount.
 */
int64
seckill_values_close(int64 item_id, int64 *amount)
{
	Purchase	p;
	ItemRow		row;
	NumberSet  *left;

	seckill_item_lock_numbered(&p, item_id, &row);
	check_not_split(item_id, &row, "closed");
	seckill_item_end_sale(item_id, GetCurrentTimestamp());
	SECKILL_FAULT("sale ended");
	left = seckill_item_withdraw_all(&p, &row);
	seckill_numbers_merge(left, seckill_releases_cancel(item_id, row.off_sale));
	SECKILL_FAULT("releases cancelled");
	*amount = seckill_unit_scan_sum(item_id, left);
	seckill_cache_unpin(p.entry);
	return seckill_numbers_count(left);
}


/*
 * Revealing
 */

/* Raise: the seeds of an item cannot be revealed yet. */
static void
too_early(int64 item_id, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("item " INT64_FORMAT " cannot be revealed yet", item_id),
			 errdetail_internal("%s", detail),
			 errhint("SELECT seckill_close(" INT64_FORMAT ") ends the sale and takes what is left off sale. Pending orders are confirmed, cancelled or expire.",
					 item_id)));
}

/* Raise an error if a unit of the locked item could still be sold. */
static void
check_over(int64 item_id, const ItemRow *row)
{
	if (row->rules.ends_at > GetCurrentTimestamp())
		too_early(item_id, "Its sale is not over.");
	if (row->stock > 0 ||
		(row->leased > 0 && row->leased >
		 seckill_orders_sold_on_lease(item_id, row->lease_id)))
		too_early(item_id, "It has units that are not sold.");
	if (seckill_releases_planned(item_id))
		too_early(item_id, "It has releases that are not done.");
	if (seckill_orders_any_pending(item_id))
		too_early(item_id, "It has pending orders.");
}

/*
 * Reveal the commitments of an item, whose sale must be over unless they have
 * been revealed before; returns them and their number.  (*unchanged)[i] tells
 * whether the values are still those that commitment i was made for.
 */
int
seckill_values_reveal(int64 item_id, Commitment **commitments,
					  bool **unchanged)
{
	Purchase	p;
	ItemRow		row;
	int			n;

	seckill_item_lock_numbered(&p, item_id, &row);
	check_not_split(item_id, &row, "revealed");
	if (!seckill_commitments_revealed(item_id))
		check_over(item_id, &row);
	n = seckill_commitments_read(item_id, commitments);
	*unchanged = palloc(Max(n, 1) * sizeof(bool));
	for (int i = 0; i < n; i++)
	{
		const Commitment *c = &(*commitments)[i];
		int			undescribed;
		bytea	   *now = seckill_commitment_compute(item_id, c->first_unit,
													 c->last_unit, c->seed,
													 &undescribed);

		(*unchanged)[i] = VARSIZE_ANY_EXHDR(c->commitment) == VARSIZE_ANY_EXHDR(now) &&
			memcmp(VARDATA_ANY(c->commitment), VARDATA_ANY(now),
				   VARSIZE_ANY_EXHDR(now)) == 0;
	}
	seckill_commitments_reveal(item_id);
	SECKILL_FAULT("seeds revealed");
	seckill_cache_unpin(p.entry);
	return n;
}
