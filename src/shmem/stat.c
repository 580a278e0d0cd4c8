/*
 * stat.c
 *		Statistics in shared memory.
 *
 * Calls are counted per item and mode, in counters beside the cache entries:
 * the index of the entry that a call has pinned is that of its counters.  They
 * are striped by process, so that few processes add to one cache line; a
 * reader adds the stripes up.  The counters are exact and visible at once, and
 * cost a call a few atomic additions, to one cache line unless something rare
 * has happened.  They last as long as the entry.
 *
 * A table of databases counts what has no entry: calls that found no entry,
 * and the work of background processes.  When this table is full, a further
 * database is not counted.
 *
 * A call is counted when it is answered; a call that raises an error is not.
 * Events during a call (a wait, a lost race, a refill) are counted in the
 * process first, and added by the call at its end.
 *
 * - dbid in the table of databases: under stats->lock.
 * - All counters: atomic, no lock.  They are set to zero when an entry or a
 *   database begins to use them, while no other process counts there.
 *
 * Counting never raises and never waits for a transaction, so it may be done
 * in a commit callback.  The first count of a process for its database takes
 * stats->lock.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "seckill.h"
#include "shmem/databases.h"
#include "shmem/stat.h"

/* Databases that are counted. */
#define STAT_DATABASES	32

typedef union PaddedDatabase
{
	DatabaseStats database;
	char		pad[TYPEALIGN(PG_CACHE_LINE_SIZE, sizeof(DatabaseStats))];
} PaddedDatabase;

static Stats *stats = NULL;
static PaddedStats *items = NULL;	/* by index of the cache entry */
static PaddedDatabase *databases = NULL;

/* The counters of the current database, once this backend has used them. */
static DatabaseStats *my_stats = NULL;

/* Events in this process since its start, less those that calls have added. */
static StatEvents events;


/*
 * Shared memory
 */

static void
request(void)
{
	seckill_shmem_struct("seckill statistics", sizeof(Stats),
						 (void **) &stats);
	seckill_shmem_struct("seckill item statistics",
						 mul_size(seckill_max_items, sizeof(PaddedStats)),
						 (void **) &items);
	seckill_shmem_struct("seckill database statistics",
						 STAT_DATABASES * sizeof(PaddedDatabase),
						 (void **) &databases);
}

/*
 * Initialize the table of databases.  Counters are set to zero when they are
 * taken into use, so the memory of entries that no item needs is never
 * touched.
 */
static void
init(void)
{
	stats->lock = seckill_shmem_lock(&seckill_stat_shmem);
	for (int i = 0; i < STAT_DATABASES; i++)
		databases[i].database.dbid = InvalidOid;
}

const SeckillShmem seckill_stat_shmem = {
	.tranche = "seckill_stats",
	.request = request,
	.init = init
};


/*
 * Initializing and resetting
 */

/* Initialize counters that no other process uses yet. */
static void
init_calls(CallStats *calls)
{
	for (int i = 0; i < STAT_STRIPES; i++)
		for (int mode = 0; mode < SECKILL_MODES; mode++)
			for (int j = 0; j < CALL_STATS; j++)
				pg_atomic_init_u64(&calls->stripes[i].lines[mode][j], 0);
	pg_atomic_init_u64(&calls->since, (uint64) GetCurrentTimestamp());
}

/*
 * The entry of this index is given to another item: set its counters to zero.
 * No other process counts there yet.
 */
void
seckill_stat_forget(int index)
{
	init_calls(&items[index].stats);
}

/* Set counters to zero that other processes may be using. */
static void
zero_calls(CallStats *calls)
{
	for (int i = 0; i < STAT_STRIPES; i++)
		for (int mode = 0; mode < SECKILL_MODES; mode++)
			for (int j = 0; j < CALL_STATS; j++)
				pg_atomic_write_u64(&calls->stripes[i].lines[mode][j], 0);
	pg_atomic_write_u64(&calls->since, (uint64) GetCurrentTimestamp());
}


/*
 * The table of databases
 */

/*
 * Return the counters of a database, or NULL; for InvalidOid, an unused
 * element.  Under stats->lock.
 */
static DatabaseStats *
find_database(Oid dbid)
{
	int			i = seckill_find_database(&databases[0].database.dbid,
										  sizeof(PaddedDatabase),
										  STAT_DATABASES, dbid);

	return i >= 0 ? &databases[i].database : NULL;
}

/*
 * Take an unused element for the current database; NULL if there is none.
 * Under stats->lock, exclusively.
 */
static DatabaseStats *
add_database(void)
{
	DatabaseStats *database = find_database(InvalidOid);

	if (database == NULL)
		return NULL;
	init_calls(&database->calls.stats);
	for (int i = 0; i < SECKILL_STATS; i++)
		pg_atomic_init_u64(&database->counts[i], 0);
	database->dbid = MyDatabaseId;
	return database;
}

/* Return the counters of the current database; NULL if it has none. */
static DatabaseStats *
my_database(void)
{
	static bool tried = false;	/* do not search a full table each time */

	if (my_stats != NULL || stats == NULL || tried)
		return my_stats;
	LWLockAcquire(stats->lock, LW_EXCLUSIVE);
	my_stats = find_database(MyDatabaseId);
	if (my_stats == NULL)
		my_stats = add_database();
	LWLockRelease(stats->lock);
	tried = true;
	return my_stats;
}

/*
 * A database is dropped, so no process can count there: free its element.  For
 * a commit callback; does not raise.
 */
void
seckill_stat_drop_database(Oid dbid)
{
	DatabaseStats *database;

	LWLockAcquire(stats->lock, LW_EXCLUSIVE);
	database = find_database(dbid);
	if (database != NULL)
		database->dbid = InvalidOid;
	LWLockRelease(stats->lock);
}

/* Add to a counter of the current database. */
void
seckill_stat_count(SeckillStat what, int64 n)
{
	DatabaseStats *database = my_database();

	if (database != NULL)
		pg_atomic_fetch_add_u64(&database->counts[what], n);
}


/*
 * Events during a call
 */

/* Return the time since start. */
static int64
nanoseconds_since(instr_time start)
{
	instr_time	time;

	INSTR_TIME_SET_CURRENT(time);
	INSTR_TIME_SUBTRACT(time, start);
	return (int64) (INSTR_TIME_GET_DOUBLE(time) * 1e9);
}

/* Mode retry has lost a race and tries once more. */
void
seckill_stat_note_retry(void)
{
	events.retries++;
}

/* A refill has moved units to the cache. */
void
seckill_stat_note_refill(void)
{
	events.refills++;
	seckill_stat_count(SECKILL_STAT_REFILLS, 1);
}

/* A lock was waited for, since start. */
void
seckill_stat_note_wait(instr_time start)
{
	events.waits++;
	events.wait_time += nanoseconds_since(start);
}


/*
 * Calls
 */

/*
 * Return the call counters of the entry of this index or, for -1, those of the
 * calls of the current database that had no entry; NULL if there are none.
 */
static CallStats *
find_calls(int index)
{
	DatabaseStats *database;

	if (index >= 0)
		return &items[index].stats;
	database = my_database();
	return database != NULL ? &database->calls.stats : NULL;
}

/* Return the stripe of find_calls() that this process adds to, or NULL. */
static StatLine *
my_lines(int index)
{
	CallStats  *calls = find_calls(index);

	return calls == NULL ? NULL :
		calls->stripes[SeckillMyProcIndex() % STAT_STRIPES].lines;
}

/*
 * The place of a counter in a line.  Those that most calls add to have places
 * in the first cache line, in exchange with rare outcomes.
 */
static inline int
place(int counter)
{
	switch (counter)
	{
		case CALL_TOTAL_TIME:
			return CALL_OUTCOMES + SECKILL_CONFLICT;
		case CALL_MAX_TIME:
			return CALL_OUTCOMES + SECKILL_NOT_STARTED;
		case CALL_UNITS:
			return CALL_OUTCOMES + SECKILL_ENDED;
		case CALL_OUTCOMES + SECKILL_CONFLICT:
			return CALL_TOTAL_TIME;
		case CALL_OUTCOMES + SECKILL_NOT_STARTED:
			return CALL_MAX_TIME;
		case CALL_OUTCOMES + SECKILL_ENDED:
			return CALL_UNITS;
		default:
			return counter;
	}
}

static inline void
add(StatLine line, int counter, int64 n)
{
	if (n != 0)
		pg_atomic_fetch_add_u64(&line[place(counter)], n);
}

/* Raise *max to value if it is less. */
static void
raise_to(pg_atomic_uint64 *max, uint64 value)
{
	uint64		old = pg_atomic_read_u64(max);

	while (old < value && !pg_atomic_compare_exchange_u64(max, &old, value))
		;
}

/*
 * Return the units that the call itself has sold: none for a request that was
 * answered before.
 */
static int32
units_sold(const Purchase *p)
{
	return p->outcome == SECKILL_SOLD && p->admitted ? p->quantity : 0;
}

/* Add a call to the counters of its mode. */
static void
count_call(StatLine line, const Purchase *p, int64 time)
{
	add(line, CALL_CALLS, 1);
	add(line, CALL_OUTCOMES + p->outcome, 1);
	add(line, CALL_UNITS, units_sold(p));
	add(line, CALL_TOTAL_TIME, time);
	raise_to(&line[place(CALL_MAX_TIME)], time);
}

/* Add the events since before. */
static void
count_events(StatLine line, const StatEvents *before)
{
	add(line, CALL_RETRIES, events.retries - before->retries);
	add(line, CALL_REFILLS, events.refills - before->refills);
	add(line, CALL_WAITS, events.waits - before->waits);
	add(line, CALL_WAIT_TIME, events.wait_time - before->wait_time);
}

/* A call begins. */
void
seckill_stat_begin(StatCall *call)
{
	call->before = events;
	INSTR_TIME_SET_CURRENT(call->start);
	call->share = -1;
}

/* The call was for n purchases, which are counted one by one. */
void
seckill_stat_share(StatCall *call, int n)
{
	call->share = n > 0 ? nanoseconds_since(call->start) / n : 0;
}

/*
 * A call for n purchases of one item has been answered; each is counted in its
 * mode, and they share the time equally.  The events during the call are added
 * to the mode of the last purchase that was served.  They are not added to the
 * enclosing call, if a trigger made this one.
 */
void
seckill_stat_end(const StatCall *call, const Purchase *list, int n,
				 int index)
{
	StatLine   *lines;
	const Purchase *served = list;
	int64		time;

	if (stats == NULL || n == 0 || (lines = my_lines(index)) == NULL)
		return;
	time = call->share >= 0 ? call->share : nanoseconds_since(call->start) / n;
	for (int i = 0; i < n; i++)
	{
		count_call(lines[list[i].selling_mode], &list[i], time);
		if (list[i].admitted)
			served = &list[i];
	}
	count_events(lines[served->selling_mode], &call->before);
	events = call->before;
}

/*
 * The queue worker has decided a purchase.  If a session waits for the answer,
 * that session counts the outcome with its call.
 */
void
seckill_stat_decided(const Purchase *p, int index, bool awaited)
{
	StatLine   *lines = my_lines(index);

	if (lines == NULL)
		return;
	add(lines[SECKILL_MODE_QUEUE], CALL_UNITS, units_sold(p));
	if (!awaited)
		add(lines[SECKILL_MODE_QUEUE], CALL_OUTCOMES + p->outcome, 1);
}


/*
 * Reading
 */

/* Add up the stripes. */
static void
add_up(CallStats *calls, StatSums sums)
{
	memset(sums, 0, sizeof(StatSums));
	for (int i = 0; i < STAT_STRIPES; i++)
		for (int mode = 0; mode < SECKILL_MODES; mode++)
			for (int j = 0; j < CALL_STATS; j++)
			{
				int64		n = (int64)
					pg_atomic_read_u64(&calls->stripes[i].lines[mode][place(j)]);

				if (j == CALL_MAX_TIME)
					sums[mode][j] = Max(sums[mode][j], n);
				else
					sums[mode][j] += n;
			}
}

/*
 * Read the call counters of the entry of this index or, for -1, of the calls
 * of the current database that had no entry.  *since is the time when they
 * were zero.  Returns false if there are none.
 */
bool
seckill_stat_read_calls(int index, StatSums sums, TimestampTz *since)
{
	CallStats  *calls = find_calls(index);

	if (calls == NULL)
		return false;
	*since = (TimestampTz) pg_atomic_read_u64(&calls->since);
	add_up(calls, sums);
	return true;
}

/* Set the counters to zero that seckill_stat_read_calls() reads. */
void
seckill_stat_reset_calls(int index)
{
	CallStats  *calls = find_calls(index);

	if (calls != NULL)
		zero_calls(calls);
}

/* Read the other counters of the current database; false if there are none. */
bool
seckill_stat_read_counts(int64 *counts, TimestampTz *since)
{
	DatabaseStats *database = my_database();

	if (database == NULL)
		return false;
	for (int i = 0; i < SECKILL_STATS; i++)
		counts[i] = (int64) pg_atomic_read_u64(&database->counts[i]);
	*since = (TimestampTz) pg_atomic_read_u64(&database->calls.stats.since);
	return true;
}

/* Set the counters to zero that seckill_stat_read_counts() reads. */
void
seckill_stat_reset_counts(void)
{
	DatabaseStats *database = my_database();

	if (database == NULL)
		return;
	for (int i = 0; i < SECKILL_STATS; i++)
		pg_atomic_write_u64(&database->counts[i], 0);
}
