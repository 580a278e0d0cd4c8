/*
 * schedule.c
 *		When the keeper of a database has something to do next.
 *
 * Shared memory with a slot per database: the time at which an order expires
 * or a sale is about to open, whichever comes first.  Like all shared memory
 * of the extension it is derived from the tables: the launcher has each
 * database looked at when the server starts and now and then later, which
 * also finds what nobody has announced (see keeper.c).
 *
 * - dbid of a slot, and used: under schedule->lock.  A database keeps its
 *   slot.
 * - due: moved to an earlier time by whoever has committed something that is
 *   due then; taken, that is moved to "never", by the launcher when it starts
 *   a keeper, and by the keeper before it takes the snapshot that it looks
 *   with.  So what it does not see is announced
 *   after, and what was announced before it sees.
 * - look: when the tables are to be looked at in any case.  It is moved and
 *   taken like due, by the launcher and the keeper.  due is a time of the wall
 *   clock, as the tables have it; look is one of the clock that nobody sets, so
 *   that rounds and retries go on when the wall clock is set back.
 * - rest: after some workers have failed there is no other one before that time,
 *   even if something is due; a time of the clock that nobody sets.  Written by the
 *   keeper, as is failures: how many in a row have failed before anything was done.
 * - awake: is there a keeper, to be told of what is due sooner?  It also looks
 *   at due after it has said that it goes, and the launcher looks when it has
 *   gone.
 * - latches: set without a lock; a process woken for nothing goes on sleeping.
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
#include "shmem/schedule.h"

#define SCHEDULE_DATABASES	1024

/* The least and the longest rest after a keeper has failed. */
#define MIN_REST_MS			1000
#define MAX_REST_MS			60000

typedef struct ScheduleSlot
{
	Oid			dbid;			/* InvalidOid: not in use */
	pg_atomic_uint32 awake;
	pg_atomic_uint64 due;		/* a TimestampTz */
	pg_atomic_uint64 look;		/* a ClockTime */
	pg_atomic_uint64 rest;		/* a ClockTime */
	int			failures;
	Latch	   *latch;			/* of the keeper, or of the last one */
} ScheduleSlot;

typedef struct Schedule
{
	LWLock	   *lock;
	Latch	   *launcher;		/* NULL: has not started yet */
	int			used;			/* slots past these were never in use */
	ScheduleSlot slots[SCHEDULE_DATABASES];
} Schedule;

static Schedule *schedule = NULL;

/* The slot of my database, once I have used it. */
static ScheduleSlot *my_slot = NULL;

/* The first that is due of what this transaction does. */
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
		pg_atomic_init_u64(&schedule->slots[i].rest, 0);
	}
}

const SeckillShmem seckill_schedule_shmem = {
	"seckill_schedule", request, init
};


/*
 * Slots
 */

/* Find or take a slot; NULL if there are too many databases. */
static ScheduleSlot *
get_slot(Oid dbid)
{
	ScheduleSlot *slot = NULL;

	LWLockAcquire(schedule->lock, LW_EXCLUSIVE);
	for (int i = 0; i < SCHEDULE_DATABASES; i++)
	{
		ScheduleSlot *s = &schedule->slots[i];

		if (s->dbid == dbid)
		{
			slot = s;
			break;
		}
		if (slot == NULL && !OidIsValid(s->dbid))
			slot = s;
	}
	if (slot != NULL)
	{
		slot->dbid = dbid;
		schedule->used = Max(schedule->used, slot - schedule->slots + 1);
	}
	LWLockRelease(schedule->lock);
	return slot;
}

static ScheduleSlot *
get_my_slot(void)
{
	if (my_slot == NULL)
		my_slot = get_slot(MyDatabaseId);
	return my_slot;
}

/* How long it is from now to a time of the same clock. */
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

/* In how many microseconds there is something to do. */
static int64
delay_of(ScheduleSlot *slot)
{
	ClockTime	now = seckill_clock();
	int64		delay = Min(left_until(&slot->due, GetCurrentTimestamp()),
							left_until(&slot->look, now));

	return Max(delay, left_until(&slot->rest, now));
}

/* Move due or look to an earlier time; did that change anything? */
static bool
advance(pg_atomic_uint64 *word, int64 time)
{
	uint64		old = pg_atomic_read_u64(word);

	while (time < (int64) old)
		if (pg_atomic_compare_exchange_u64(word, &old, (uint64) time))
			return true;
	return false;
}

static void
look_in(ScheduleSlot *slot, int64 delay)
{
	if (delay != SECKILL_NEVER)
		(void) advance(&slot->look, seckill_clock() + delay);
}

static void
take(ScheduleSlot *slot)
{
	(void) pg_atomic_exchange_u64(&slot->due, (uint64) SECKILL_NEVER);
	(void) pg_atomic_exchange_u64(&slot->look, (uint64) SECKILL_NEVER);
}

/* Tell whoever waits for the slot to be due. */
static void
wake(ScheduleSlot *slot)
{
	pg_memory_barrier();
	if (pg_atomic_read_u32(&slot->awake) != 0)
	{
		pg_read_barrier();		/* its latch was there first */
		SetLatch(slot->latch);
	}
	else if (schedule->launcher != NULL)
		SetLatch(schedule->launcher);
}

/* The database is dropped.  Called in a commit callback; raises nothing. */
void
seckill_schedule_drop_database(Oid dbid)
{
	LWLockAcquire(schedule->lock, LW_EXCLUSIVE);
	for (int i = 0; i < SCHEDULE_DATABASES; i++)
	{
		ScheduleSlot *slot = &schedule->slots[i];

		if (slot->dbid != dbid)
			continue;
		slot->dbid = InvalidOid;
		pg_atomic_write_u64(&slot->due, (uint64) SECKILL_NEVER);
		pg_atomic_write_u64(&slot->look, (uint64) SECKILL_NEVER);
		pg_atomic_write_u64(&slot->rest, 0);
		slot->failures = 0;
	}
	LWLockRelease(schedule->lock);
}


/*
 * Transactions
 */

/* Once this transaction has committed, something is due at that time. */
void
seckill_schedule_note(TimestampTz time)
{
	if (schedule != NULL && time < noted && get_my_slot() != NULL)
		noted = time;
}

/* The transaction has ended.  Raises nothing. */
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
 * The keeper's side
 */

/* I am the keeper of my database; false if it has no slot. */
bool
seckill_schedule_attend(void)
{
	ScheduleSlot *slot = get_my_slot();

	if (slot == NULL)
		return false;
	pg_atomic_write_u64(&slot->rest, 0);
	slot->latch = MyLatch;
	pg_write_barrier();
	pg_atomic_write_u32(&slot->awake, 1);
	return true;
}

/* I am about to look at the tables: forget what is due. */
void
seckill_schedule_take(void)
{
	take(my_slot);
}

/* Something is due then, as far as I know. */
void
seckill_schedule_put(TimestampTz time)
{
	(void) advance(&my_slot->due, time);
}

/* The tables are to be looked at in so many microseconds. */
void
seckill_schedule_look(int64 delay)
{
	look_in(my_slot, delay);
}

/* In how many microseconds I have something to do; 0: now. */
int64
seckill_schedule_delay(void)
{
	return delay_of(my_slot);
}

/* Orders that were due are expired: should I fail now, I am the first to. */
void
seckill_schedule_worked(void)
{
	my_slot->failures = 0;
}

/*
 * I could not do what is due: the next keeper will, after a while that is
 * doubled with each of them that fails.  The first one alone may come sooner,
 * if something is due: I may just have been terminated.  Raises nothing.
 */
void
seckill_schedule_failed(void)
{
	int64		rest = USECS(MIN_REST_MS) << Min(my_slot->failures, 16);

	rest = Min(rest, USECS(MAX_REST_MS));
	if (my_slot->failures++ > 0)
		pg_atomic_write_u64(&my_slot->rest, (uint64) (seckill_clock() + rest));
	look_in(my_slot, rest);
}

/* I go: from now on the launcher is told.  Raises nothing. */
void
seckill_schedule_leave(void)
{
	pg_atomic_write_u32(&my_slot->awake, 0);
	wake(my_slot);
}


/*
 * The launcher's side
 */

void
seckill_schedule_launcher(void)
{
	schedule->launcher = MyLatch;
}

/* Have a database looked at in so many microseconds. */
void
seckill_schedule_visit(Oid dbid, int64 delay)
{
	ScheduleSlot *slot = get_slot(dbid);

	if (slot != NULL)
		look_in(slot, delay);
}

/*
 * Slot i of the table: its database, and in how many microseconds there is
 * something to do; false past the end.
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

/* A keeper is on its way to the database in slot i, and will look. */
void
seckill_schedule_handled(int i)
{
	take(&schedule->slots[i]);
}
