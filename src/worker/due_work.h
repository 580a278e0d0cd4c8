/*
 * due_work.h
 *		Work that is due at a time, in the maintenance worker.
 */
#ifndef SECKILL_WORKER_DUE_WORK_H
#define SECKILL_WORKER_DUE_WORK_H

#include "datatype/timestamp.h"

#include "base/clock.h"
#include "table/due.h"
#include "worker/backoff.h"
#include "worker/process.h"

/*
 * Interval between two turns of the maintenance worker that has work, in ms.
 */
#define SECKILL_MAINTENANCE_NAP	100

/*
 * First and longest timeout of the wait for one item's row, in ms, and the
 * pause after a timeout, in multiples of the wait.  Many buyers may be queued
 * on its item lock for longer than the first.
 */
#define DUE_WAIT_MS			200
#define DUE_MAX_WAIT_MS		1600
#define DUE_WAIT_SPACING	4

/* Maximum number of deferred rows that are remembered. */
#define DUE_MAX_DEFERRED	64

typedef struct DueDeferred
{
	DueKey		key;
	ClockTime	until;
} DueDeferred;

/*
 * A kind of work.  Its functions run between seckill_table_begin() and
 * seckill_table_end(), and may raise.
 */
typedef struct DueKind
{
	/* words of messages */
	const char *row;			/* what one row is: "order" */
	const char *processed;		/* what is done to it: "expired" */
	const char *work;			/* "expiry of all orders" */
	const char *activity;		/* "expiring orders" */

	int			batch;			/* maximum number of rows in a transaction */

	/*
	 * Lock the item before its due rows and without the item lock, not after
	 * them under the item lock.
	 */
	bool		item_first;

	/* Find due rows; see seckill_due_read(). */
	int			(*read) (TimestampTz now, const int64 *except, int nexcept,
						 int skip, DueKey *rows, int max);

	/*
	 * Process those of the rows of an item that are still due and not locked.
	 * Returns their number, and in *moved what is to be moved on the item's
	 * row; it is left NULL if nothing is.
	 */
	int			(*process) (int64 item_id, const DueKey *rows, int n,
							TimestampTz now, void **moved);

	/* Lock the item's row, and move units. */
	void		(*move) (int64 item_id, void *moved);

	/* State, in the memory of the worker. */
	DueDeferred deferred[DUE_MAX_DEFERRED]; /* a ring of the last ones */
	int			next_deferred;
	int64		last_item;		/* the skipped item that was waited for last */
	LogKind		logged;

	/*
	 * Timeout of waits for a skipped item.  A success does not reset it: it
	 * stays for the life of the worker.
	 */
	Backoff		backoff;
} DueKind;

/* What a turn has done. */
typedef struct DueProgress
{
	int			rows;
	int			items;			/* of these rows */
} DueProgress;

extern bool seckill_due_work_has_deferred(const DueKind *kind);
extern int64 seckill_due_work_run(DueKind *kind, TimestampTz now, int64 urgent,
								  DueProgress *progress);

#endif							/* SECKILL_WORKER_DUE_WORK_H */
