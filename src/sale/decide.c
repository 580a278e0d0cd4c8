/*
 * batch.c
 *		Purchases decided on locked rows, one or many in a transaction.
 *
 * The purchases of an item are decided in order, against its row as it was
 * locked.  Each draws on the row first, and takes from the item's open lease
 * what the row lacks.  The row is then written once, for all of them, and the
 * orders of all items with one statement.  What is undecided stays "queued".
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/check.h"
#include "base/fault.h"
#include "sale/await.h"
#include "sale/decide.h"
#include "sale/item_lock.h"
#include "sale/limits.h"
#include "sale/rules.h"
#include "sale/settle.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/counters.h"
#include "table/item_row.h"
#include "table/items.h"
#include "table/orders.h"
#include "xact/changes.h"
#include "xact/entry.h"
#include "xact/hold.h"

/*
 * One item
 */

/*
 * Begin to decide purchases on a row that this transaction has locked.  buyers
 * says how to ask whether a buyer is still there; NULL: they cannot leave.
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
}

/* The buyer cannot leave from here on; false if it has left. */
static bool
take(const BuyerCallbacks *buyers, const Purchase *p)
{
	return buyers == NULL || buyers->take(p);
}

/* The buyer can leave again. */
static void
put_back(const BuyerCallbacks *buyers, const Purchase *p)
{
	if (buyers != NULL)
		buyers->put_back(p);
}

/* Take what the row lacks from the lease on it, all or nothing. */
static bool
take_rest(const Sale *sale, const Purchase *p, TakenUnits *part)
{
	if (p->entry == NULL || sale->row.leased == 0)
		return false;
	return seckill_hold_take(p->entry, p->quantity - sale->row.stock, part);
}

/*
 * Units of the lease are lost: end it.  What the purchases before have taken
 * from it comes from the row then.
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
	sale->from_row += taken;
	sale->from_lease = 0;
}

/*
 * The row is short: look for the rest in its lease.  Once settled, the lease
 * on the row is the one in memory.  SECKILL_SOLD: p can be sold, with part
 * taken from the lease.
 */
static SeckillOutcome
find_rest(Sale *sale, Purchase *p, bool may_wait, TakenUnits *part)
{
	ItemRow    *row = &sale->row;

	seckill_settle(p, row);
	while (row->stock < p->quantity && !take_rest(sale, p, part))
	{
		CHECK_FOR_INTERRUPTS();
		switch (seckill_await_judge(p, row, seckill_await_generation(p)))
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
 * Decide a purchase on the row that this transaction has locked; leaves it
 * undecided if it would have to wait for holders of units and may not, or if
 * its buyer leaves the queue meanwhile.
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
	if (p->outcome == SECKILL_SOLD)
	{
		int32		from_row = p->quantity - part.units;

		sale->row.stock -= from_row;
		sale->row.leased -= part.units;
		sale->row.mine = true;
		sale->from_row += from_row;
		sale->from_lease += part.units;
		SECKILL_FAULT("purchase decided");
	}
	return p->outcome;
}

/* Write to the row what was sold. */
void
seckill_decide_end(const Sale *sale, int64 item_id)
{
	if (sale->from_row > 0 || sale->from_lease > 0)
		seckill_item_sell_locked(item_id, sale->from_row, sale->from_lease);
}


/*
 * Orders
 */

/*
 * Write the orders of the purchases that are sold and have none yet, numbered
 * in this order; for units of the row.
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

/* The purchases of one item within a batch: a stretch of the sorted list. */
typedef struct ItemBatch
{
	int64		item_id;
	Purchase  **first;
	int			n;
	Sale		sale;
} ItemBatch;

/* By item; of one item, in the order given, which is that of the addresses. */
static int
compare(const void *a, const void *b)
{
	const Purchase *p = *(Purchase *const *) a;
	const Purchase *q = *(Purchase *const *) b;

	if (p->item_id != q->item_id)
		return p->item_id < q->item_id ? -1 : 1;
	return p < q ? -1 : p > q;
}

/* Cut the sorted list into items_of_batch; returns their number. */
static int
cut(Purchase **sorted, int n, ItemBatch *items_of_batch)
{
	int			count = 0;

	for (int i = 0; i < n; i++)
	{
		if (i == 0 || sorted[i]->item_id != sorted[i - 1]->item_id)
		{
			items_of_batch[count].item_id = sorted[i]->item_id;
			items_of_batch[count].first = &sorted[i];
			items_of_batch[count].n = 0;
			count++;
		}
		items_of_batch[count - 1].n++;
	}
	return count;
}

/* What is decided without the row stays so, unless the buyer has left. */
static void
take_answered(const BuyerCallbacks *buyers, Purchase *p)
{
	if (p->outcome == SECKILL_QUEUED || take(buyers, p))
		return;
	p->outcome = SECKILL_QUEUED;
	p->order_id = 0;
}

/* Leave those of the stretch that may buy. */
static void
admit(ItemBatch *s, const SaleRules *rules, bool may_wait,
	  const BuyerCallbacks *buyers)
{
	Purchase  **all = palloc(s->n * sizeof(Purchase *));
	int			n = s->n;

	memcpy(all, s->first, n * sizeof(Purchase *));
	for (int i = 0; i < n; i++)
		all[i]->rules = *rules;
	s->n = seckill_limits_admit_requests(s->first, s->n, may_wait);
	s->n = seckill_limits_admit_users(s->first, s->n, may_wait);
	for (int i = 0; i < n; i++)
		if (!all[i]->admitted)
			take_answered(buyers, all[i]);
	pfree(all);
}

/* Those whose request is in the batch twice get the answer of the first. */
static void
answer_twins(Purchase **list, int n, const BuyerCallbacks *buyers)
{
	seckill_limits_answer_duplicates(list, n);
	for (int i = 0; i < n; i++)
		if (list[i]->duplicate_of != NULL)
			take_answered(buyers, list[i]);
}

/*
 * Decide purchases of one item, up to one that would have to wait and may not,
 * except those whose buyers have left the queue.
 */
static void
decide_stretch(ItemBatch *s, const ItemRow *row, bool may_wait,
			   const BuyerCallbacks *buyers)
{
	CacheEntry *entry = seckill_entry_enter(s->item_id);

	seckill_decide_begin(&s->sale, row, buyers);
	for (int i = 0; i < s->n && seckill_hold_has_slot(); i++)
	{
		Purchase   *p = s->first[i];

		p->entry = entry;
		if (!take(buyers, p))
			continue;
		(void) seckill_decide(&s->sale, p, may_wait);
		entry = p->entry;		/* found, if it was made since */
		if (p->outcome == SECKILL_QUEUED && !may_wait)
		{
			put_back(buyers, p);
			break;
		}
	}
	seckill_cache_unpin(entry);
}

/*
 * Lock the rows that nobody else has locked, all with one statement, decide,
 * and write the rows: those that sold from their stock alone with one
 * statement again.
 */
static void
decide_free(ItemBatch *items_of_batch, int n, const BuyerCallbacks *buyers)
{
	int64	   *ids = palloc(n * sizeof(int64));
	int32	   *units = palloc(n * sizeof(int32));
	ItemRow    *rows = palloc(n * sizeof(ItemRow));
	bool	   *locked = palloc(n * sizeof(bool));
	int			nsold = 0;

	for (int i = 0; i < n; i++)
		ids[i] = items_of_batch[i].item_id;
	seckill_items_try_lock_rows(ids, n, rows, locked);
	for (int i = 0; i < n; i++)
	{
		Sale	   *sale = &items_of_batch[i].sale;

		if (!locked[i])
			continue;
		admit(&items_of_batch[i], &rows[i].rules, false, buyers);
		decide_stretch(&items_of_batch[i], &rows[i], false, buyers);
		if (sale->from_lease > 0)
			seckill_decide_end(sale, ids[i]);
		else if (sale->from_row > 0)
		{
			ids[nsold] = ids[i];
			units[nsold++] = sale->from_row;
		}
	}
	SECKILL_FAULT("batch decided");
	if (nsold > 0)
		seckill_items_sell(ids, units, nsold);
	SECKILL_FAULT("rows of the batch written");
}

/* The same for one item, waiting for whoever has its row or holds units. */
static void
decide_waiting(ItemBatch *s, const BuyerCallbacks *buyers)
{
	ItemRow		row;
	int32		limit;

	if (!seckill_item_read_latest(s->item_id, &row))
		seckill_unknown_item(s->item_id);
	limit = row.rules.per_user_limit;
	admit(s, &row.rules, true, buyers);
	seckill_item_lock_acquire(s->item_id);
	seckill_item_lock_row(s->item_id, &row);
	if (row.rules.per_user_limit != limit)
		return;					/* they are put off */
	for (int i = 0; i < s->n; i++)
		s->first[i]->rules = row.rules;
	decide_stretch(s, &row, true, buyers);
	seckill_decide_end(&s->sale, s->item_id);
}

/*
 * Decide purchases, of several items, in the order of the array.  Without
 * leave to wait, those of an item whose row is locked, and those behind one
 * that must wait for holders of units, stay undecided.  With it, all must be of
 * one item.
 */
void
seckill_decide_batch(Purchase **list, int n, bool may_wait,
					 const BuyerCallbacks *buyers)
{
	Purchase  **sorted = palloc(n * sizeof(Purchase *));
	ItemBatch  *items_of_batch = palloc(n * sizeof(ItemBatch));
	int			count;

	memcpy(sorted, list, n * sizeof(Purchase *));
	qsort(sorted, n, sizeof(Purchase *), compare);
	count = cut(sorted, n, items_of_batch);
	for (int i = 0; i < count; i++)
		seckill_change_begin_work(items_of_batch[i].item_id);
	if (!may_wait)
		decide_free(items_of_batch, count, buyers);
	else
	{
		Assert(count == 1);
		decide_waiting(&items_of_batch[0], buyers);
	}
	seckill_decide_orders(list, n);
	seckill_change_end_work(count);
	SECKILL_FAULT("orders of the batch written");
	answer_twins(list, n, buyers);
	pfree(items_of_batch);
	pfree(sorted);
}
