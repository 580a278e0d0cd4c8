/*
 * release.c
 *		Scheduled releases of units, in the maintenance worker.
 *
 * The due rows of due_work.c are rows of seckill.releases past their
 * release_at.  Their units are added to the item's row in the transaction that
 * marks them done, so each is released exactly once.
 *
 * The item is locked before its releases, in the order in which DELETE of an
 * item locks them.
 */
#include "postgres.h"

#include "sale/item.h"
#include "shmem/stat.h"
#include "table/releases.h"
#include "worker/due_work.h"
#include "worker/release.h"

/* Mark releases of an item done; *moved has their units. */
static int
finish_releases(int64 item_id, const DueKey *releases, int n, TimestampTz now,
				void **moved)
{
	ReleasedUnits *released = palloc(sizeof(ReleasedUnits));
	int			done = seckill_releases_finish(item_id, releases, n, now, released);

	if (done > 0)
		*moved = released;
	return done;
}

static void
add_units(int64 item_id, void *moved)
{
	seckill_item_release(item_id, moved);
}

/* A batch holds the locks of its items, so it is smaller than one of orders. */
static DueKind release = {
	.row = "release",
	.processed = "done",
	.work = "release of all units",
	.activity = "releasing units",
	.batch = 100,
	.item_first = true,
	.read = seckill_releases_due,
	.process = finish_releases,
	.move = add_units,
	.backoff = BACKOFF_INIT(DUE_WAIT_MS, DUE_MAX_WAIT_MS, DUE_WAIT_SPACING)
};

/* Are releases deferred? */
bool
seckill_release_has_deferred(void)
{
	return seckill_due_work_has_deferred(&release);
}

/* Do the releases that are due at now; see seckill_due_work_run(). */
int64
seckill_release_run(TimestampTz now, int64 urgent)
{
	DueProgress progress;
	int64		delay = seckill_due_work_run(&release, now, urgent, &progress);

	if (progress.rows > 0)
	{
		seckill_stat_count(SECKILL_STAT_RELEASES, progress.rows);
		ereport(DEBUG1,
				(errmsg("done %d releases of %d items", progress.rows,
						progress.items)));
	}
	return delay;
}
