/*
 * decide.c
 *		Deciding purchases on locked rows, one or many in a transaction.
 *
 * The purchases of an item are decided in order, against its row as it was
 * locked.  Each takes units from the row's stock first, and what the row lacks
 * from the item's open lease.  The row is then written once for all of them,
 * and the orders of all items with one statement.  A purchase that is not
 * decided keeps the outcome "queued".
 *
 * A Sale is the state of one row; it is local to the caller.  A batch of the
 * queue tries to lock the rows of all its items and waits for none, or it has
 * one item and waits: then it takes the item lock before the row.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/check.h"
#include "base/fault.h"
#include "base/number_set.h"
#include "sale/await.h"
#include "sale/book_batch.h"
#include "sale/decide.h"
#include "sale/item_lock.h"
#include "sale/limits.h"
#include "sale/rules.h"
#include "sale/settle.h"
#include "sale/share.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/counters.h"
#include "table/item_row.h"
#include "table/items.h"
#include "table/numbered_items.h"
#include "table/order_insert.h"
#include "table/row_lock.h"
#include "xact/changes.h"
#include "xact/entry.h"
#include "xact/hold.h"

/*
 * One item
 */

/*
 * Find the numbers that are left to deal: those of the row's stock, as it is
 * in the table, without those dealt.
 */
static void
find_left(Sale *sale)
{
	sale->left = sale->row.numbers == NULL ? NULL :
		seckill_numbers_without(sale->row.numbers, sale->row_numbers,
								sale->from_row);
}

/*
 * Begin to decide purchases on a row that this transaction has locked.  buyers
 * is NULL if the buyers cannot leave.
 */
void
seckill_decide_begin(Sale *sale, const ItemRow *row,
					 const BuyerCallbacks *buyers)
{
	sale->row = *row;
	sale->buyers = buyers;
	sale->from_row = 0;
	sale->from_lease = 0;
	sale->now = GetCurrentTimestamp();
	sale->began = row->rules.split.n > 0 ? seckill_clock() : 0;
	sale->row_numbers = sale->lease_numbers = NULL;
	find_left(sale);
}

/* Add n numbers to an array of dealt ones; returns the array. */
static int32 *
add_numbers(int32 *dealt, int32 ndealt, const int32 *numbers, int32 n)
{
	Size		size = ((Size) ndealt + n) * sizeof(int32);

	if (n == 0)
		return dealt;
	dealt = dealt == NULL ? palloc_extended(size, MCXT_ALLOC_HUGE) :
		repalloc_huge(dealt, size);
	memcpy(dealt + ndealt, numbers, n * sizeof(int32));
	return dealt;
}

/*
 * Deal p its number, after from_row units were taken from the row's stock and
 * the others from the lease.  Called before they are counted in the sale.
 */
static void
deal(Sale *sale, Purchase *p, int32 from_row, const TakenUnits *part)
{
	int32	   *numbers = palloc_extended(Max(from_row, 1) * sizeof(int32),
										  MCXT_ALLOC_HUGE);

	seckill_numbers_take(sale->left, numbers, from_row);
	p->unit = from_row > 0 ? numbers[0] : part->numbers[0];
	sale->row_numbers = add_numbers(sale->row_numbers, sale->from_row,
									numbers, from_row);
	sale->lease_numbers = add_numbers(sale->lease_numbers, sale->from_lease,
									  part->numbers, part->units);
	pfree(numbers);
}

/* Keep the buyer from leaving; return false if it has left. */
static bool
take(const BuyerCallbacks *buyers, const Purchase *p)
{
	return buyers == NULL || buyers->take(p);
}

/* Let the buyer leave again. */
static void
put_back(const BuyerCallbacks *buyers, const Purchase *p)
{
	if (buyers != NULL)
		buyers->put_back(p);
}

/* Take what the row lacks from its lease, all or nothing. */
static bool
take_rest(const Sale *sale, const Purchase *p, TakenUnits *part)
{
	if (p->entry == NULL || sale->row.leased == 0)
		return false;
	return seckill_hold_take(p->entry, p->quantity - sale->row.stock, part);
}

/*
 * End a lease with lost units.  The units that earlier purchases of the sale
 * have taken from it then come from the row.
 */
static void
drop_lost(Sale *sale, Purchase *p)
{
	int32		taken = sale->from_lease;

	sale->row.leased += taken;
	if (!seckill_await_drop_lost(p, &sale->row, taken))
	{
		sale->row.leased -= taken;
		return;
	}
	sale->row.stock -= taken;
	if (sale->left != NULL)
		sale->row_numbers = add_numbers(sale->row_numbers, sale->from_row,
										sale->lease_numbers, taken);
	sale->from_row += taken;
	sale->from_lease = 0;
	find_left(sale);
}

/*
 * Take what the row lacks from its lease.  Settles the row, so that its lease
 * is the one in memory.  Returns SECKILL_SOLD with *part taken from the lease,
 * SECKILL_SOLD_OUT, or SECKILL_QUEUED if p would have to wait for holders of
 * units and may not, or if its buyer has left during the wait.
 */
static SeckillOutcome
find_rest(Sale *sale, Purchase *p, bool may_wait, TakenUnits *part)
{
	ItemRow    *row = &sale->row;
	int64		lease_id = row->lease_id;

	seckill_settle(p, row);
	if (row->lease_id != lease_id)
		find_left(sale);		/* numbers came back to the row */
	while (row->stock < p->quantity && !take_rest(sale, p, part))
	{
		CHECK_FOR_INTERRUPTS();
		switch (seckill_await_judge(p, row, seckill_await_generation(p->entry)))
		{
			case UNITS_SOLD_OUT:
				return SECKILL_SOLD_OUT;
			case UNITS_WAIT:
				if (seckill_await_has_lost(p->entry))
				{
					drop_lost(sale, p);
					break;
				}
				if (!may_wait)
					return SECKILL_QUEUED;
				put_back(sale->buyers, p);
				seckill_await_holder(p->entry);
				SECKILL_FAULT("holder awaited");
				if (!take(sale->buyers, p))
					return SECKILL_QUEUED;
				break;
			case UNITS_RETRY:
			case UNITS_REFILL:
				break;
		}
	}
	return SECKILL_SOLD;
}

/*
 * A purchase of an item that is split over nodes has found no units here.  Its
 * buyer may leave while others are asked for them.
 */
static SeckillOutcome
defer(const Sale *sale, const Purchase *p, bool may_wait)
{
	SeckillOutcome outcome = seckill_share_defer(p, sale->began);

	if (outcome == SECKILL_QUEUED && may_wait)
		put_back(sale->buyers, p);
	return outcome;
}

/*
 * Decide a purchase on the row of the sale; sets and returns its outcome.  It
 * stays "queued" if it would have to wait for holders of units and may not, if
 * other nodes are asked for units, or if its buyer has left during the wait.
 */
SeckillOutcome
seckill_decide(Sale *sale, Purchase *p, bool may_wait)
{
	TakenUnits	part = {0};
	RulesAnswer answer = seckill_rules_check_window(&sale->row.rules, sale->now);

	if (answer != RULES_PASSED)
		p->outcome = seckill_rules_refusal(answer);
	else if (sale->row.stock >= p->quantity)
		p->outcome = SECKILL_SOLD;
	else
		p->outcome = find_rest(sale, p, may_wait, &part);
	if (p->outcome == SECKILL_SOLD_OUT && sale->began > 0 &&
		sale->buyers != NULL)
		p->outcome = defer(sale, p, may_wait);
	if (p->outcome == SECKILL_SOLD)
	{
		int32		from_row = p->quantity - part.units;

		p->unit = 0;
		if (sale->left != NULL)
			deal(sale, p, from_row, &part);
		sale->row.stock -= from_row;
		sale->row.leased -= part.units;
		sale->row.mine = true;
		sale->from_row += from_row;
		sale->from_lease += part.units;
		SECKILL_FAULT("purchase decided");
	}
	return p->outcome;
}

/*
 * Decide a single purchase on a locked row, whatever the window of the sale.
 * Waits for holders of units if the row is short.
 */
SeckillOutcome
seckill_decide_any_time(Sale *sale, const ItemRow *row, Purchase *p)
{
	seckill_decide_begin(sale, row, NULL);
	sale->row.rules.starts_at = DT_NOBEGIN;
	sale->row.rules.ends_at = DT_NOEND;
	return seckill_decide(sale, p, true);
}

/*
 * Write what was sold to the row.  Numbers of its stock are on their way then,
 * until the orders have them; those of its lease are on hold.
 */
void
seckill_decide_end(const Sale *sale, int64 item_id)
{
	if (sale->from_row == 0 && sale->from_lease == 0)
		return;
	if (sale->left != NULL)
		seckill_change_note_moving(item_id, sale->row_numbers, sale->from_row);
	if (sale->left != NULL)
		seckill_numbered_sell_locked(item_id, sale->row_numbers,
									 sale->from_row, sale->from_lease);
	else
		seckill_item_sell_locked(item_id, sale->from_row, sale->from_lease);
}


/*
 * Orders
 */

/*
 * Write the orders of the sold purchases that have none yet, numbered in the
 * order of the list; for purchases whose units were booked on the row.
 */
void
seckill_decide_orders(Purchase **list, int n)
{
	Purchase  **sold = palloc(n * sizeof(Purchase *));
	int			nsold = 0;

	for (int i = 0; i < n; i++)
		if (list[i]->outcome == SECKILL_SOLD && list[i]->order_id == 0)
			sold[nsold++] = list[i];
	if (nsold > 0)
		seckill_orders_insert(sold, nsold);
	pfree(sold);
}


/*
 * Many items
 */

/* The purchases of one item within a batch: a part of the sorted list. */
typedef struct ItemBatch
{
	int64		item_id;
	Purchase  **first;
	int			n;
	Sale		sale;
} ItemBatch;

/* By item, then by position in the list, the order of the addresses. */
int
seckill_decide_compare(const void *a, const void *b)
{
	const Purchase *p = *(Purchase *const *) a;
	const Purchase *q = *(Purchase *const *) b;

	if (p->item_id != q->item_id)
		return p->item_id < q->item_id ? -1 : 1;
	return p < q ? -1 : p > q;
}

/* Split the sorted list by item; return the number of items. */
static int
split_by_item(Purchase **sorted, int n, ItemBatch *parts)
{
	int			count = 0;

	for (int i = 0; i < n; i++)
	{
		if (i == 0 || sorted[i]->item_id != sorted[i - 1]->item_id)
		{
			parts[count].item_id = sorted[i]->item_id;
			parts[count].first = &sorted[i];
			parts[count].n = 0;
			count++;
		}
		parts[count - 1].n++;
	}
	return count;
}

/* Keep the outcome of a purchase that has one, unless its buyer has left. */
static void
take_answered(const BuyerCallbacks *buyers, Purchase *p)
{
	if (p->outcome == SECKILL_QUEUED || take(buyers, p))
		return;
	p->outcome = SECKILL_QUEUED;
	p->order_id = 0;
}

/*
 * Answer those that belong to another node, if the item is split over nodes;
 * return the number of the others, which are moved to the front.
 */
static int
keep_mine(Purchase **list, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		list[i]->admitted = false;
		if (seckill_share_is_elsewhere(list[i]))
			list[i]->outcome = SECKILL_MOVED;
		else
			list[kept++] = list[i];
	}
	return kept;
}

/*
 * Reduce the purchases of an item to the admitted ones.  Their requests and
 * users are locked.
 */
static void
admit(ItemBatch *part, const SaleRules *rules, bool may_wait,
	  const BuyerCallbacks *buyers)
{
	Purchase  **all = palloc(part->n * sizeof(Purchase *));
	int			n = part->n;

	memcpy(all, part->first, n * sizeof(Purchase *));
	for (int i = 0; i < n; i++)
	{
		all[i]->rules = *rules;
		if (rules->legs > 0 || all[i]->trip.to > 0)
			seckill_rules_check_kind(all[i]);
	}
	if (rules->split.n > 0)
		part->n = keep_mine(part->first, part->n);
	part->n = seckill_limits_admit_requests(part->first, part->n, may_wait);
	part->n = seckill_limits_admit_users(part->first, part->n, may_wait);
	for (int i = 0; i < n; i++)
		if (!all[i]->admitted)
			take_answered(buyers, all[i]);
	pfree(all);
}

/* Answer the duplicates of a list, unless their buyers have left. */
static void
answer_duplicates(Purchase **list, int n, const BuyerCallbacks *buyers)
{
	seckill_limits_answer_duplicates(list, n);
	for (int i = 0; i < n; i++)
		if (list[i]->duplicate_of != NULL)
			take_answered(buyers, list[i]);
}

/*
 * Decide the purchases of one item on its locked row, without those whose
 * buyers have left.  Stops at one that would have to wait and may not.  None is
 * decided if this node may not sell a split item yet.
 */
static void
decide_item(ItemBatch *part, const ItemRow *row, bool may_wait,
			const BuyerCallbacks *buyers)
{
	CacheEntry *entry = seckill_entry_enter(part->item_id);
	bool		may_sell = row->rules.split.n == 0 ||
		seckill_share_may_sell(part->item_id, entry);

	seckill_decide_begin(&part->sale, row, buyers);
	for (int i = 0; i < part->n && may_sell && seckill_hold_has_slot(); i++)
	{
		Purchase   *p = part->first[i];

		p->entry = entry;
		if (!take(buyers, p))
			continue;
		(void) seckill_decide(&part->sale, p, may_wait);
		entry = p->entry;		/* found, if it was made since */
		if (p->outcome == SECKILL_QUEUED && !may_wait)
		{
			put_back(buyers, p);
			break;
		}
	}
	seckill_cache_unpin(entry);
}

/* Rows that have sold from their stock alone, to be written together. */
typedef struct StockSales
{
	int64	   *ids;
	int32	   *units;
	int32	  **numbers;		/* NULL: the units have no numbers */
	int			n;
} StockSales;

static void
add_stock_sale(StockSales *sales, int64 item_id, const Sale *sale)
{
	sales->ids[sales->n] = item_id;
	sales->units[sales->n] = sale->from_row;
	if (sales->numbers != NULL)
	{
		sales->numbers[sales->n] = sale->row_numbers;
		seckill_change_note_moving(item_id, sale->row_numbers, sale->from_row);
	}
	sales->n++;
}

/* Write the rows of items, with numbers or without, with one statement each. */
static void
write_stock_sales(const StockSales *plain, const StockSales *numbered)
{
	if (plain->n > 0)
		seckill_items_sell(plain->ids, plain->units, plain->n);
	if (numbered->n > 0)
		seckill_numbered_sell_many(numbered->ids, numbered->numbers,
								   numbered->units, numbered->n);
}

/*
 * Decide the purchases of the items whose rows others have not locked.  The
 * rows are locked with one statement.  Rows that sold from their stock alone
 * are also written with one statement.
 */
static void
decide_unlocked(ItemBatch *parts, int n, const BuyerCallbacks *buyers)
{
	int64	   *ids = palloc(n * sizeof(int64));
	ItemRow    *rows = palloc(n * sizeof(ItemRow));
	bool	   *locked = palloc(n * sizeof(bool));
	StockSales	plain = {
		.ids = palloc(n * sizeof(int64)),
		.units = palloc(n * sizeof(int32))
	};
	StockSales	numbered = {
		.ids = palloc(n * sizeof(int64)),
		.units = palloc(n * sizeof(int32)),
		.numbers = palloc(n * sizeof(int32 *))
	};

	for (int i = 0; i < n; i++)
		ids[i] = parts[i].item_id;
	seckill_items_try_lock_rows(ids, n, rows, locked);
	for (int i = 0; i < n; i++)
	{
		Sale	   *sale = &parts[i].sale;

		if (!locked[i])
			continue;
		admit(&parts[i], &rows[i].rules, false, buyers);
		if (rows[i].rules.legs > 0)
		{
			seckill_book_batch(parts[i].first, parts[i].n, false, buyers);
			continue;
		}
		decide_item(&parts[i], &rows[i], false, buyers);
		if (sale->from_lease > 0)
			seckill_decide_end(sale, ids[i]);
		else if (sale->from_row > 0)
			add_stock_sale(sale->left != NULL ? &numbered : &plain, ids[i],
						   sale);
	}
	SECKILL_FAULT("batch decided");
	write_stock_sales(&plain, &numbered);
	SECKILL_FAULT("rows of the batch written");
}

/*
 * Decide the purchases of one item, waiting for its requests and users, the
 * item lock, the row and holders of units.  If the limit or its window was
 * changed between the check of the users and the lock of the row, all stay
 * undecided.
 */
static void
decide_waiting(ItemBatch *part, const BuyerCallbacks *buyers)
{
	ItemRow		row;
	SaleRules	checked;

	if (!seckill_item_read_latest(part->item_id, &row))
		seckill_unknown_item(part->item_id);
	checked = row.rules;
	admit(part, &row.rules, true, buyers);
	seckill_item_lock_acquire(part->item_id);
	seckill_item_lock_row_anywhere(part->item_id, &row);
	if (row.rules.per_user_limit != checked.per_user_limit ||
		row.rules.limit_window != checked.limit_window)
		return;
	for (int i = 0; i < part->n; i++)
		part->first[i]->rules = row.rules;
	if (row.rules.legs > 0)
	{
		seckill_book_batch(part->first, part->n, true, buyers);
		return;
	}
	decide_item(part, &row, true, buyers);
	seckill_decide_end(&part->sale, part->item_id);
}

/*
 * Decide purchases of several items, in the order of the list, write the rows
 * and the orders.  If may_wait is false, the purchases of an item whose row is
 * locked, and those behind one that must wait for holders of units, stay
 * undecided.  If it is true, all purchases must be of one item.
 */
void
seckill_decide_batch(Purchase **list, int n, bool may_wait,
					 const BuyerCallbacks *buyers)
{
	Purchase  **sorted = palloc(n * sizeof(Purchase *));
	ItemBatch  *parts = palloc(n * sizeof(ItemBatch));
	int			count;

	memcpy(sorted, list, n * sizeof(Purchase *));
	qsort(sorted, n, sizeof(Purchase *), seckill_decide_compare);
	count = split_by_item(sorted, n, parts);
	for (int i = 0; i < count; i++)
		seckill_change_begin_work(parts[i].item_id);
	if (!may_wait)
		decide_unlocked(parts, count, buyers);
	else
	{
		Assert(count == 1);
		decide_waiting(&parts[0], buyers);
	}
	seckill_decide_orders(list, n);
	seckill_change_end_work(count);
	SECKILL_FAULT("orders of the batch written");
	answer_duplicates(list, n, buyers);
	pfree(parts);
	pfree(sorted);
}
