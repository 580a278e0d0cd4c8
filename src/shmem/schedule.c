/*
 * schedule.c
 *		When each database needs its maintenance worker next.
 *
 * Shared memory with a slot per database: the next time at which an order
 * expires or a sale is about to open.  Like all shared memory of the extension
 * it is derived from the tables: the launcher has each database examined when
 * the server starts and at intervals after that, which also finds work that
 * was not announced (see worker/maintenance.c).
 *
 * - dbid of a slot, and used: under schedule->lock.  A database keeps its slot
 *   until it is dropped.
 * - due: a time of the wall clock, as in the tables.  A process that has
 *   committed something that is due earlier moves due to that time.  The
 *   launcher takes it, that is, sets it to "never", when it starts a worker,
 *   and the worker takes it before the snapshot that it searches the tables
 *   with.  So anything that the snapshot does not show is announced after due
 *   was taken, and anything announced before is shown.
 * - look: when the tables are to be searched in any case.  Moved and taken
 *   like due, by the launcher and the worker.  It is a time of the monotonic
 *   clock, so that intervals and retries do not stop when the wall clock is
 *   set back.
 * - backoff_until: after several workers have failed, none is started before
 *   this time, even if something is due.  A time of the monotonic clock.
 * - failures: how many workers in a row have failed before anything was done.
 *   The worker writes backoff_until and failures; both are reset when the
 *   database is dropped.
 * - awake: is there a worker, to be told of what is due earlier?  A worker
 *   that ends wakes the launcher after it has cleared awake, and the launcher
 *   reads due again once the process has ended, so nothing announced meanwhile
 *   is missed.
 * - latches: set without a lock; a process that was woken for nothing goes
 *   back to sleep.
 */
#include "postgres.h"

#include "common/int.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/shmem.h"
#include "shmem/databases.h"
#include "shmem/schedule.h"

/* Databases that can have a maintenance worker. */
#define SCHEDULE_DATABASES	1024

/* The backoff after a maintenance worker has failed. */
#define MIN_BACKOFF_MS			1000
#define MAX_BACKOFF_MS			60000

typedef struct ScheduleSlot
{
	Oid			dbid;			/* InvalidOid: not in use */
	pg_atomic_uint32 awake;
	pg_atomic_uint64 due;		/* a TimestampTz */
	pg_atomic_uint64 look;		/* a ClockTime */
	pg_atomic_uint64 backoff_until; /* a ClockTime */
	int			failures;
	Latch	   *latch;			/* of the worker, or of the last one */
} ScheduleSlot;

typedef struct Schedule
{
	LWLock	   *lock;
	Latch	   *launcher;		/* NULL: has not started yet */
	int			used;			/* slots from here on were never in use */
	ScheduleSlot slots[SCHEDULE_DATABASES];
} Schedule;

static Schedule *schedule = NULL;

/* The slot of the current database, once this backend has used it. */
static ScheduleSlot *my_slot = NULL;

/* The earliest time at which something of this transaction is due. */
static TimestampTz noted = DT_NOEND;


/*
 * Shared memory
 */

static void
request(void)
{
	seckill_shmem_struct("seckill schedule", sizeof(Schedule),
						 (void **) &schedule);
}

static void
init(void)
{
	memset(schedule, 0, sizeof(Schedule));
	schedule->lock = seckill_shmem_lock(&seckill_schedule_shmem);
	for (int i = 0; i < SCHEDULE_DATABASES; i++)
	{
		pg_atomic_init_u32(&schedule->slots[i].awake, 0);
		pg_atomic_init_u64(&schedule->slots[i].due, (uint64) SECKILL_NEVER);
		pg_atomic_init_u64(&schedule->slots[i].look, (uint64) SECKILL_NEVER);
		pg_atomic_init_u64(&schedule->slots[i].backoff_until, 0);
	}
}

const SeckillShmem seckill_schedule_shmem = {
	.tranche = "seckill_schedule",
	.request = request,
	.init = init
};


/*
 * Slots
 */

/*
 * Return the slot of a database, or NULL; for InvalidOid, an unused slot.
 * Under schedule->lock.
 */
static ScheduleSlot *
find_slot(Oid dbid)
{
	int			i = seckill_find_database(&schedule->slots[0].dbid,
										  sizeof(ScheduleSlot),
										  SCHEDULE_DATABASES, dbid);

	return i >= 0 ? &schedule->slots[i] : NULL;
}

/* Find or take a slot; NULL if there are too many databases. */
static ScheduleSlot *
get_slot(Oid dbid)
{
	ScheduleSlot *slot;

	LWLockAcquire(schedule->lock, LW_EXCLUSIVE);
	slot = find_slot(dbid);
	if (slot == NULL)
		slot = find_slot(InvalidOid);
	if (slot != NULL)
	{
		slot->dbid = dbid;
		schedule->used = Max(schedule->used, slot - schedule->slots + 1);
	}
	LWLockRelease(schedule->lock);
	return slot;
}

/*
 * Find or take the slot of the current database; NULL if there are too many.
 */
static ScheduleSlot *
get_my_slot(void)
{
	if (my_slot == NULL)
		my_slot = get_slot(MyDatabaseId);
	return my_slot;
}

/*
 * Return how long it is from now to *time, of the same clock; 0 if it is past.
 */
static int64
left_until(pg_atomic_uint64 *time, int64 now)
{
	int64		then = (int64) pg_atomic_read_u64(time);
	int64		left;

	if (then <= now)
		return 0;
	return then == SECKILL_NEVER || pg_sub_s64_overflow(then, now, &left) ?
		SECKILL_NEVER : left;
}

/*
 * Return in how many microseconds there is something to do; SECKILL_NEVER if
 * there is nothing.
 */
static int64
delay_of(ScheduleSlot *slot)
{
	ClockTime	now = seckill_clock();
	int64		delay = Min(left_until(&slot->due, GetCurrentTimestamp()),
							left_until(&slot->look, now));

	return Max(delay, left_until(&slot->backoff_until, now));
}

/* Move due or look to an earlier time; returns whether that changed it. */
static bool
advance(pg_atomic_uint64 *word, int64 time)
{
	uint64		old = pg_atomic_read_u64(word);

	while (time < (int64) old)
		if (pg_atomic_compare_exchange_u64(word, &old, (uint64) time))
			return true;
	return false;
}

/* Have the tables searched after this delay, or earlier. */
static void
look_in(ScheduleSlot *slot, int64 delay)
{
	if (delay != SECKILL_NEVER)
		(void) advance(&slot->look, seckill_clock() + delay);
}

/* Set due and look to "never", before the tables are searched. */
static void
take(ScheduleSlot *slot)
{
	(void) pg_atomic_exchange_u64(&slot->due, (uint64) SECKILL_NEVER);
	(void) pg_atomic_exchange_u64(&slot->look, (uint64) SECKILL_NEVER);
}

/*
 * Wake the process that waits for the slot to be due: the worker, or the
 * launcher if there is none.
 */
static void
wake(ScheduleSlot *slot)
{
	pg_memory_barrier();
	if (pg_atomic_read_u32(&slot->awake) != 0)
	{
		pg_read_barrier();		/* latch was set before awake */
		SetLatch(slot->latch);
	}
	else if (schedule->launcher != NULL)
		SetLatch(schedule->launcher);
}

/*
 * A database is dropped: free its slot.  For a commit callback; does not
 * raise.
 */
void
seckill_schedule_drop_database(Oid dbid)
{
	ScheduleSlot *slot;

	LWLockAcquire(schedule->lock, LW_EXCLUSIVE);
	slot = find_slot(dbid);
	if (slot != NULL)
	{
		slot->dbid = InvalidOid;
		pg_atomic_write_u64(&slot->due, (uint64) SECKILL_NEVER);
		pg_atomic_write_u64(&slot->look, (uint64) SECKILL_NEVER);
		pg_atomic_write_u64(&slot->backoff_until, 0);
		slot->failures = 0;
	}
	LWLockRelease(schedule->lock);
}


/*
 * Transactions
 */

/*
 * Note that something is due at the given time if this transaction commits.
 * Takes the slot of the database now, so that seckill_schedule_end() only has
 * to write to it.
 */
void
seckill_schedule_note(TimestampTz time)
{
	if (schedule != NULL && time < noted && get_my_slot() != NULL)
		noted = time;
}

/*
 * The transaction has ended: announce what is due, if it has committed.  For
 * the callbacks; does not raise.
 */
void
seckill_schedule_end(bool committed)
{
	TimestampTz time = noted;

	if (time == DT_NOEND)
		return;
	noted = DT_NOEND;
	if (committed && advance(&my_slot->due, time))
		wake(my_slot);
}


/*
 * The maintenance worker's side, for its own database
 */

/*
 * This process is the maintenance worker from now on; false if the database
 * has no slot.
 */
bool
seckill_schedule_attend(void)
{
	ScheduleSlot *slot = get_my_slot();

	if (slot == NULL)
		return false;
	pg_atomic_write_u64(&slot->backoff_until, 0);
	slot->latch = MyLatch;
	pg_write_barrier();
	pg_atomic_write_u32(&slot->awake, 1);
	return true;
}

/* The worker is about to search the tables: forget what is due. */
void
seckill_schedule_take(void)
{
	take(my_slot);
}

/* The worker has found something that is due at that time. */
void
seckill_schedule_put(TimestampTz time)
{
	(void) advance(&my_slot->due, time);
}

/* Have the tables searched after this delay. */
void
seckill_schedule_look(int64 delay)
{
	look_in(my_slot, delay);
}

/* Return in how many microseconds there is something to do; 0: now. */
int64
seckill_schedule_delay(void)
{
	return delay_of(my_slot);
}

/* Something that was due has been done: reset the count of failures. */
void
seckill_schedule_worked(void)
{
	my_slot->failures = 0;
}

/*
 * The worker could not do what is due: the next one retries it after a
 * backoff, which is doubled with each failure in a row.  After the first
 * failure alone a worker may start earlier, if something is due, because the
 * process may just have been terminated.  Does not raise.
 */
void
seckill_schedule_failed(void)
{
	int64		backoff = USECS(MIN_BACKOFF_MS) << Min(my_slot->failures, 16);

	backoff = Min(backoff, USECS(MAX_BACKOFF_MS));
	if (my_slot->failures++ > 0)
		pg_atomic_write_u64(&my_slot->backoff_until, (uint64) (seckill_clock() + backoff));
	look_in(my_slot, backoff);
}

/* The worker ends: the launcher is woken from now on.  Does not raise. */
void
seckill_schedule_leave(void)
{
	pg_atomic_write_u32(&my_slot->awake, 0);
	wake(my_slot);
}


/*
 * The launcher's side
 */

/* This process is the launcher from now on. */
void
seckill_schedule_launcher(void)
{
	schedule->launcher = MyLatch;
}

/*
 * Have a database examined after this delay; does nothing if there is no slot
 * left.
 */
void
seckill_schedule_visit(Oid dbid, int64 delay)
{
	ScheduleSlot *slot = get_slot(dbid);

	if (slot != NULL)
		look_in(slot, delay);
}

/*
 * Read slot i: its database, and in how many microseconds there is something
 * to do.  Returns false past the last slot.
 */
bool
seckill_schedule_read(int i, Oid *dbid, int64 *delay)
{
	bool		found;

	LWLockAcquire(schedule->lock, LW_SHARED);
	found = i < schedule->used;
	if (found)
		*dbid = schedule->slots[i].dbid;
	LWLockRelease(schedule->lock);
	if (found)
		*delay = delay_of(&schedule->slots[i]);
	return found;
}

/*
 * A worker has been started for the database of slot i and will search its
 * tables: forget what is due.
 */
void
seckill_schedule_handled(int i)
{
	take(&schedule->slots[i]);
}
