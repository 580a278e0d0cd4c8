/*
 * due_work.c
 *		Work that is due at a time, in the maintenance worker: rows of a table
 *		that change units of items.
 *
 * A kind of such work (DueKind) finds the rows and processes them; this file
 * has what all kinds share.  A turn reads due rows in batches, one transaction
 * per batch.  Items whose rows are locked by others are skipped.
 *
 * After that it waits for the row of one skipped item, with a timeout.  The
 * skipped items take turns; timeouts and the pauses between them follow
 * backoff.c.
 *
 * When a batch fails, bisect.c finds the row that fails alone.  That row is
 * deferred for a minute, and so are all rows of its item if several of them
 * are deferred.
 *
 * The deferred rows, the item waited for last and the backoff are kept in the
 * DueKind, in the memory of the worker.
 *
 * A turn can fail after a batch has committed.  The worker has not failed in
 * vain then, so each commit tells the schedule that it worked.
 */
#include "postgres.h"

#include "pgstat.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "sale/item_lock.h"
#include "sale/place.h"
#include "sale/share.h"
#include "seckill.h"
#include "shmem/schedule.h"
#include "table/item_search.h"
#include "table/relation.h"
#include "table/row_lock.h"
#include "worker/bisect.h"
#include "worker/due_work.h"
#include "worker/process.h"
#include "xact/changes.h"

/* How long a row that cannot be processed is deferred. */
#define DEFER_MS		60000

/* With so many deferred rows, all rows of the item are deferred. */
#define DEFER_ITEM		4

/* Maximum number of logged rows a minute that cannot be processed. */
#define LOG_ROWS		20

/* Maximum number of items skipped in one turn. */
#define MAX_SKIPPED		1000

/*
 * Shortest timeout of a lock wait.  If less is left until the next urgent
 * time, the turn does not wait for a skipped item.
 */
#define MIN_WAIT_MS		50


/*
 * Deferred rows
 */

/* Stands for all rows of an item; no row has this number. */
#define ALL_ROWS	PG_INT64_MIN

/* Is the row deferred, by itself or with its item? */
static bool
is_deferred(const DueKind *kind, const DueKey *key)
{
	ClockTime	now = seckill_clock();

	for (int i = 0; i < DUE_MAX_DEFERRED; i++)
		if (kind->deferred[i].until > now &&
			kind->deferred[i].key.item_id == key->item_id &&
			(kind->deferred[i].key.number == key->number ||
			 kind->deferred[i].key.number == ALL_ROWS))
			return true;
	return false;
}

static void
add_deferred(DueKind *kind, int64 item_id, int64 number)
{
	DueDeferred *next = &kind->deferred[kind->next_deferred];

	next->key.item_id = item_id;
	next->key.number = number;
	next->until = seckill_clock() + USECS(DEFER_MS);
	kind->next_deferred = (kind->next_deferred + 1) % DUE_MAX_DEFERRED;
}

/* Count the deferred rows of an item. */
static int
count_deferred(const DueKind *kind, int64 item_id)
{
	ClockTime	now = seckill_clock();
	int			n = 0;

	for (int i = 0; i < DUE_MAX_DEFERRED; i++)
		n += kind->deferred[i].until > now &&
			kind->deferred[i].key.item_id == item_id;
	return n;
}

/* Return the microseconds until the first deferral ends, or SECKILL_NEVER. */
static int64
end_of_deferral(const DueKind *kind)
{
	ClockTime	now = seckill_clock();
	int64		first = SECKILL_NEVER;

	for (int i = 0; i < DUE_MAX_DEFERRED; i++)
		if (kind->deferred[i].until > now)
			first = Min(first, kind->deferred[i].until - now);
	return first;
}

/* Are rows deferred?  A new worker would not know of them. */
bool
seckill_due_work_has_deferred(const DueKind *kind)
{
	return end_of_deferral(kind) != SECKILL_NEVER;
}

/*
 * Defer a row that could not be processed, and its item if it has too many of
 * them; log it, within limits.
 */
static void
defer_row(DueKind *kind, const DueKey *key, const ErrorData *error)
{
	bool		report = seckill_process_may_log(&kind->logged, LOG_ROWS);

	if (report)
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("%s " INT64_FORMAT " of item " INT64_FORMAT " could not be %s: %s",
						kind->row, key->number, key->item_id, kind->processed,
						seckill_process_message(error))));
	add_deferred(kind, key->item_id, key->number);
	if (count_deferred(kind, key->item_id) < DEFER_ITEM)
		return;
	if (report)
		ereport(LOG,
				(errmsg("%s of item " INT64_FORMAT " is deferred",
						kind->work, key->item_id)));
	add_deferred(kind, key->item_id, ALL_ROWS);
}


/*
 * Batches
 */

/* A turn, and the part of a batch that it processes now. */
typedef struct Batch
{
	DueKind    *kind;
	DueKey	   *rows;			/* read or processed now, by item */
	int			n;
	DueKey	   *all;			/* the list that is being bisected */
	bool		may_wait;		/* all rows are of one item */
	int			max_wait_ms;	/* limit of every lock wait */
	TimestampTz now;
	int			done;			/* rows processed */
	int			items;			/* of these rows */
	int64		locked_item;	/* the skipped item to wait for */
	bool		found_locked;
	bool		closed;			/* this node may not change orders */
	int64		skipped[MAX_SKIPPED];	/* items not to be read again */
	int			nskipped;
	int			left;			/* rows of other items left unprocessed */
	int			waiting;		/* those of them that are not deferred */
} Batch;

static int
compare_rows(const void *a, const void *b)
{
	const DueKey *x = a;
	const DueKey *y = b;

	if (x->item_id != y->item_id)
		return x->item_id < y->item_id ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Skip the items that are not sold here. */
static void
read_elsewhere(void *arg)
{
	Batch	   *batch = arg;

	batch->closed = !seckill_node_is_open();
	batch->nskipped = seckill_items_elsewhere(batch->skipped, MAX_SKIPPED - 1);
}

/* Read due rows, without those that earlier batches have left. */
static void
read_due(void *arg)
{
	Batch	   *batch = arg;

	batch->n = batch->kind->read(batch->now, batch->skipped, batch->nskipped,
								 batch->left, batch->rows, batch->kind->batch);
	qsort(batch->rows, batch->n, sizeof(DueKey), compare_rows);
	SECKILL_FAULT("due rows read");
}

static bool
is_skipped(const Batch *batch, int64 item_id)
{
	for (int i = 0; i < batch->nskipped; i++)
		if (batch->skipped[i] == item_id)
			return true;
	return false;
}

static void
skip_item(Batch *batch, int64 item_id)
{
	if (batch->nskipped < MAX_SKIPPED && !is_skipped(batch, item_id))
		batch->skipped[batch->nskipped++] = item_id;
}

/*
 * Skip an item whose row is locked.  Of all such items, choose the one that
 * follows last_item, in a circle, to wait for.
 */
static void
note_locked(Batch *batch, int64 item_id)
{
	int64		last_item = batch->kind->last_item;
	bool		is_next = item_id > last_item;

	skip_item(batch, item_id);
	if (!batch->found_locked ||
		(is_next && batch->locked_item <= last_item))
		batch->locked_item = item_id;
	batch->found_locked = true;
}

/*
 * Process the rows of one item, which start at i.  Returns the start of the
 * next item; *moved is what the kind is to move on the item's row, or NULL.
 */
static int
process_item(Batch *batch, int i, void **moved)
{
	int64		item_id = batch->rows[i].item_id;
	int			end = i;
	int			done;

	while (end < batch->n && batch->rows[end].item_id == item_id)
		end++;
	*moved = NULL;
	done = batch->kind->process(item_id, &batch->rows[i], end - i, batch->now,
								moved);
	SECKILL_FAULT("due rows processed");
	batch->done += done;
	batch->items += done > 0;
	return end;
}

/*
 * Lock the item before its due rows, if the kind wants that; false if the row
 * has been locked by now, or is gone.
 */
static bool
lock_first(const DueKind *kind, int64 item_id)
{
	ItemRow		row;

	return !kind->item_first || seckill_item_try_lock_row(item_id, &row);
}

/*
 * Process the rows of all items that are not locked, and skip the other items,
 * and those that may not get units for a while, as they are split over nodes.
 * Units are moved last, to hold the locks of items for a short time.
 */
static void
process_unlocked(Batch *batch)
{
	int64	   *ids = palloc(batch->n * sizeof(int64));
	void	  **moved = palloc0(batch->n * sizeof(void *));
	bool	   *unlocked = palloc(batch->n * sizeof(bool));
	int			nitems = 0;
	int			next = 0;

	for (int i = 0; i < batch->n; i++)
		if (i == 0 || batch->rows[i].item_id != batch->rows[i - 1].item_id)
			ids[nitems++] = batch->rows[i].item_id;
	seckill_items_test_locks(ids, nitems, unlocked);
	SECKILL_FAULT("row locks tested");
	for (int i = 0; i < nitems; i++)
		seckill_change_begin_work(ids[i]);
	for (int i = 0; i < nitems; i++)
	{
		while (batch->rows[next].item_id != ids[i])
			next++;
		if (unlocked[i] && seckill_place_try_enter(ids[i]) &&
			!seckill_share_is_bound(ids[i]) && lock_first(batch->kind, ids[i]))
			next = process_item(batch, next, &moved[i]);
		else
			note_locked(batch, ids[i]);
	}
	for (int i = 0; i < nitems; i++)
		if (moved[i] != NULL)
			batch->kind->move(ids[i], moved[i]);
	seckill_change_end_work(nitems);
}

/*
 * Process the rows of one item, waiting for its row.  Under the item lock the
 * wait is one turn of the queue of buyers; a kind that locks the item first
 * brings what they wait for, and does not queue.
 */
static void
process_waiting(Batch *batch)
{
	const DueKind *kind = batch->kind;
	int64		item_id = batch->rows[0].item_id;
	void	   *moved;
	ItemRow		row;

	seckill_place_enter(item_id);
	seckill_change_begin_work(item_id);
	if (kind->item_first)
		seckill_item_lock_row(item_id, &row);
	(void) process_item(batch, 0, &moved);
	if (moved != NULL)
	{
		if (!kind->item_first)
			seckill_item_lock_acquire(item_id);
		kind->move(item_id, moved);
	}
	seckill_change_end_work(1);
}

static void
process_task(void *arg)
{
	Batch	   *batch = arg;

	seckill_relation_lock_items();
	if (batch->may_wait)
		process_waiting(batch);
	else
		process_unlocked(batch);
}

/* Move the rows that are not deferred to the front; return their number. */
static int
drop_deferred(const DueKind *kind, DueKey *rows, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
		if (!is_deferred(kind, &rows[i]))
			rows[kept++] = rows[i];
	return kept;
}

/* The timeout of lock waits, given that of the kind. */
static int
timeout(const Batch *batch, int timeout_ms)
{
	return Min(timeout_ms, batch->max_wait_ms);
}

/* Process a part of a batch in one transaction; Bisection.attempt. */
static void
process_part(void *arg, BatchPart *part)
{
	Batch	   *batch = arg;
	DueKind    *kind = batch->kind;
	int			done = batch->done;
	int			items = batch->items;

	batch->rows = &batch->all[part->first];
	part->n = drop_deferred(kind, batch->rows, part->n);
	batch->n = part->n;
	if (part->n == 0)
		return;
	part->error = seckill_process_try(process_task, batch,
									  timeout(batch, batch->may_wait ?
											  kind->backoff.timeout_ms :
											  DUE_WAIT_MS));
	if (part->error == NULL)
	{
		if (batch->done > done)
			seckill_schedule_worked();
		return;
	}
	part->transient = seckill_process_is_transient(part->error);
	batch->done = done;
	batch->items = items;
}

/* Defer the row that fails alone; Bisection.fail. */
static void
defer_part(void *arg, const BatchPart *part)
{
	Batch	   *batch = arg;

	defer_row(batch->kind, &batch->all[part->first], part->error);
}

/* Process rows, except for those that are deferred or fail. */
static void
process_all(Batch *batch, const DueKey *rows, int n)
{
	Bisection	bisection = {
		.attempt = process_part,
		.fail = defer_part,
		.arg = batch,
		.keep_whole = batch->may_wait
	};

	batch->all = palloc(n * sizeof(DueKey));
	memcpy(batch->all, rows, n * sizeof(DueKey));
	seckill_bisect(&bisection, 0, n);
}

/*
 * After some of n rows were processed: have the next read skip the rest, by
 * item if the item is skipped, else by number.
 */
static void
note_left(Batch *batch, const DueKey *rows, int n, int done)
{
	int			left = -done;
	int			waiting = -done;

	for (int i = 0; i < n; i++)
	{
		DueKey		all = {rows[i].item_id, ALL_ROWS};

		if (is_deferred(batch->kind, &all))
			skip_item(batch, rows[i].item_id);
		if (is_skipped(batch, rows[i].item_id))
			continue;
		left++;
		waiting += !is_deferred(batch->kind, &rows[i]);
	}
	batch->left += Max(left, 0);
	batch->waiting += Max(waiting, 0);
}

/*
 * Read a batch and process what can be processed without waiting.  Returns how
 * many rows were read.  If the batch has rows of the item to wait for, *locked
 * and *nlocked are set to its rows.
 */
static int
process_batch(Batch *batch, DueKey **locked, int *nlocked)
{
	DueKey	   *rows = palloc(batch->kind->batch * sizeof(DueKey));
	bool		found_locked = batch->found_locked;
	int64		locked_item = batch->locked_item;
	int			done = batch->done;
	int			n;

	batch->rows = rows;
	batch->n = 0;
	if (!seckill_process_run(read_due, batch, timeout(batch, DUE_WAIT_MS)))
		batch->waiting++;		/* the table is locked: retry soon */
	n = batch->n;
	if (n == 0)
		return 0;
	pgstat_report_activity(STATE_RUNNING, batch->kind->activity);
	process_all(batch, rows, n);
	note_left(batch, rows, n, batch->done - done);
	if (batch->found_locked &&
		(!found_locked || batch->locked_item != locked_item))
	{
		*locked = rows;
		*nlocked = n;
	}
	return n;
}

/*
 * Process the rows of the skipped item, waiting for its row; unless the pause
 * after an earlier timeout is not over.
 */
static void
process_skipped(Batch *batch, DueKey *rows, int n)
{
	Backoff    *backoff = &batch->kind->backoff;
	ClockTime	start = seckill_clock();
	int			done = batch->done;
	int			first = 0;
	int			end;

	if (!seckill_backoff_may_wait(backoff))
		return;
	while (rows[first].item_id != batch->locked_item)
		first++;
	for (end = first; end < n; end++)
		if (rows[end].item_id != batch->locked_item)
			break;
	batch->kind->last_item = batch->locked_item;
	batch->may_wait = true;
	process_all(batch, rows + first, end - first);
	if (batch->done == done)
		seckill_backoff_timed_out(backoff, start);
}

/*
 * Do the work of a kind that is due at now.  No lock wait is longer than
 * urgent, the microseconds until the next time that must be kept.  Counts what
 * was done in *progress.  Returns the microseconds until the next turn, 0 if
 * there may be more, or SECKILL_NEVER.
 */
int64
seckill_due_work_run(DueKind *kind, TimestampTz now, int64 urgent,
					 DueProgress *progress)
{
	Batch	   *batch = palloc0(sizeof(Batch));
	DueKey	   *locked = NULL;
	int			nlocked = 0;
	int			n;

	progress->rows = progress->items = 0;
	batch->kind = kind;
	batch->now = now;
	batch->max_wait_ms = (int) Max(Min(urgent / 1000, INT_MAX), MIN_WAIT_MS);
	/* if this fails, such items are found when their rows are locked */
	(void) seckill_process_try(read_elsewhere, batch, timeout(batch, DUE_WAIT_MS));
	if (batch->closed)
		return USECS(SECKILL_MAINTENANCE_NAP) * 10;
	do
		n = process_batch(batch, &locked, &nlocked);
	while (n == kind->batch && batch->done < kind->batch &&
		   batch->nskipped < MAX_SKIPPED);
	if (batch->found_locked && urgent >= USECS(MIN_WAIT_MS))
		process_skipped(batch, locked, nlocked);
	progress->rows = batch->done;
	progress->items = batch->items;
	if (batch->done >= kind->batch)
		return 0;				/* there may be more */
	if (batch->found_locked || batch->waiting > 0)
		return USECS(SECKILL_MAINTENANCE_NAP);
	return end_of_deferral(kind);
}
