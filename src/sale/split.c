/*
 * split.c
 *		Purchases of an item, wherever its units are.
 *
 * The modes sell what this node has.  If an item is split over nodes and they
 * find no units, that is not the answer yet: the share worker asks the other
 * nodes (share.c), and the modes try again.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/clock.h"
#include "base/settings.h"
#include "sale/modes.h"
#include "sale/share.h"
#include "sale/split.h"
#include "seckill.h"

/* Does the mode lock the row before it knows whether it has units? */
static bool
locks_first(SeckillMode mode)
{
	return mode == SECKILL_MODE_PESSIMISTIC || mode == SECKILL_MODE_ADVISORY;
}

static void
set_busy(Purchase **list, int n)
{
	for (int i = 0; i < n; i++)
		list[i]->outcome = SECKILL_BUSY;
}

/*
 * As seckill_share_keep_own().  The first purchase of the list has the entry.
 */
static int
keep_own(Purchase **list, int n)
{
	CacheEntry *entry = list[0]->entry;

	n = seckill_share_keep_own(list, n);
	list[0]->entry = entry;
	return n;
}

/* Serve purchases of a split item; reorders the list. */
static void
run(Purchase **list, int n)
{
	ClockTime	made = seckill_clock();
	ClockTime	until = made + USECS(seckill_move_wait);

	if (!seckill_share_may_sell(list[0]->item_id, list[0]->entry))
	{
		bool		may_sell = seckill_share_await_silence(list[0], until);

		n = keep_own(list, n);
		if (!may_sell)
			set_busy(list, n);
		if (!may_sell || n == 0)
			return;
	}
	if (locks_first(list[0]->mode))
		seckill_share_fetch(list[0]);
	for (;;)
	{
		ClockTime	began = seckill_clock();
		CacheEntry *entry;

		CHECK_FOR_INTERRUPTS();
		seckill_modes_run(list, n);
		entry = list[0]->entry;
		n = seckill_share_keep_open(list, n, made, began);
		list[0]->entry = entry;
		if (n == 0)
			return;
		if (!seckill_share_ask(list, n, until))
		{
			set_busy(list, n);
			return;
		}
		n = keep_own(list, n);
		if (n == 0)
			return;
	}
}

/*
 * Serve purchases of one item, as seckill_modes_run() does, and get units of
 * other nodes if it is split over nodes.
 */
void
seckill_split_run(Purchase **list, int n)
{
	Purchase  **all;

	if (likely(list[0]->rules.split.n == 0))
	{
		seckill_modes_run(list, n);
		return;
	}
	all = palloc(n * sizeof(Purchase *));
	memcpy(all, list, n * sizeof(Purchase *));
	run(all, n);
	list[0]->entry = all[0]->entry; /* set by the first of the last try */
	pfree(all);
}
