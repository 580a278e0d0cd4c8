/*
 * stats.c
 *		Statistics in shared memory, and the functions under the views.
 *
 * Calls are counted per item and mode, beside the entries of the stock cache:
 * the entry that a call has pinned leads to its counters.  They are striped by
 * process, so that few processes add to one cache line; who reads adds the
 * stripes up.  So they are exact and seen at once, and cost a call a few
 * atomic additions.  They last as long as the entry.
 *
 * A table of databases has what no entry is there for: calls that found no
 * place in the cache, and what the background processes do.  A database that
 * finds no place in the table is not counted.
 *
 * A call is counted when it is answered: one that raises an error is not.
 * What happens during a call (a wait, a lost race, a refill) is counted in this
 * process first, and by the call at its end.
 *
 * Counting raises nothing and waits for nothing; it may be done in a commit
 * callback.  The first time in a database it takes stats->lock.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "seckill.h"
#include "shmem/stat.h"

#define STAT_DATABASES	32

typedef union PaddedDatabase
{
	DatabaseStats database;
	char		pad[TYPEALIGN(PG_CACHE_LINE_SIZE, sizeof(DatabaseStats))];
} PaddedDatabase;

static Stats *stats = NULL;
static PaddedStats *items = NULL;	/* of each entry of the stock cache */
static PaddedDatabase *databases = NULL;

static DatabaseStats *my_stats = NULL;

/* What this process has met since its start, less what calls have counted. */
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
 * Counters are set to zero when they are taken into use: memory that no item
 * needs is never touched.
 */
static void
init(void)
{
	stats->lock = seckill_shmem_lock(&seckill_stat_shmem);
	for (int i = 0; i < STAT_DATABASES; i++)
		databases[i].database.dbid = InvalidOid;
}

const SeckillShmem seckill_stat_shmem = {"seckill_stats", request, init};


/*
 * Zero
 */

static void
init_calls(CallStats *calls)
{
	for (int i = 0; i < STAT_STRIPES; i++)
		for (int mode = 0; mode < SECKILL_MODES; mode++)
			for (int j = 0; j < CALL_STATS; j++)
				pg_atomic_init_u64(&calls->stripes[i].lines[mode][j], 0);
	pg_atomic_init_u64(&calls->since, (uint64) GetCurrentTimestamp());
}

/* The entry of this index is taken for another item; nobody counts there yet. */
void
seckill_stat_forget(int index)
{
	init_calls(&items[index].stats);
}

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

/* Under stats->lock. */
static DatabaseStats *
find_database(Oid dbid)
{
	for (int i = 0; i < STAT_DATABASES; i++)
		if (databases[i].database.dbid == dbid)
			return &databases[i].database;
	return NULL;
}

/* Under stats->lock: take a place for my database, if there is one. */
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

/* The place of my database; NULL if it has none. */
static DatabaseStats *
my_database(void)
{
	static bool tried = false;	/* ask no more if the table is full */

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

/* Nobody is left who could count there. */
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

/* Count something of this database. */
void
seckill_stat_count(SeckillStat what, int64 n)
{
	DatabaseStats *database = my_database();

	if (database != NULL)
		pg_atomic_fetch_add_u64(&database->counts[what], n);
}


/*
 * What happens during a call
 */

static int64
nanoseconds_since(instr_time start)
{
	instr_time	time;

	INSTR_TIME_SET_CURRENT(time);
	INSTR_TIME_SUBTRACT(time, start);
	return (int64) (INSTR_TIME_GET_DOUBLE(time) * 1e9);
}

/* Mode retry tries again. */
void
seckill_stat_note_retry(void)
{
	events.retries++;
}

/* Units were moved to the cache. */
void
seckill_stat_note_refill(void)
{
	events.refills++;
	seckill_stat_count(SECKILL_STAT_REFILLS, 1);
}

/* A lock was waited for. */
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
 * Counters of the entry of this index, or, for -1, of the calls of this
 * database that had no entry; NULL if nothing is counted.
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

/* Those of them that this process adds to. */
static StatLine *
my_lines(int index)
{
	CallStats  *calls = find_calls(index);

	return calls == NULL ? NULL :
		calls->stripes[SeckillMyProcIndex() % STAT_STRIPES].lines;
}

static inline void
add(StatLine line, int counter, int64 n)
{
	if (n != 0)
		pg_atomic_fetch_add_u64(&line[counter], n);
}

static void
raise_to(pg_atomic_uint64 *max, uint64 value)
{
	uint64		old = pg_atomic_read_u64(max);

	while (old < value && !pg_atomic_compare_exchange_u64(max, &old, value))
		;
}

/* Units that were sold just now, not in a request's first life. */
static int32
units_sold(const Purchase *p)
{
	return p->outcome == SECKILL_SOLD && p->admitted ? p->quantity : 0;
}

static void
count_call(StatLine line, const Purchase *p, int64 time)
{
	add(line, CALL_CALLS, 1);
	add(line, CALL_OUTCOMES + p->outcome, 1);
	add(line, CALL_UNITS, units_sold(p));
	add(line, CALL_TOTAL_TIME, time);
	raise_to(&line[CALL_MAX_TIME], time);
}

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
}

/*
 * A call for n purchases of one item is answered, each in the mode that it
 * shows: they share the time.  What happened meanwhile is put down to those
 * who were served, and not to the call around this one, if a trigger makes it.
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
	time = nanoseconds_since(call->start) / n;
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
 * The worker has decided a purchase.  If somebody waits for the answer, he
 * counts his call, and the outcome as that of it.
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

static void
add_up(CallStats *calls, StatSums sums)
{
	memset(sums, 0, sizeof(StatSums));
	for (int i = 0; i < STAT_STRIPES; i++)
		for (int mode = 0; mode < SECKILL_MODES; mode++)
			for (int j = 0; j < CALL_STATS; j++)
			{
				int64		n = (int64)
					pg_atomic_read_u64(&calls->stripes[i].lines[mode][j]);

				if (j == CALL_MAX_TIME)
					sums[mode][j] = Max(sums[mode][j], n);
				else
					sums[mode][j] += n;
			}
}

/*
 * What the entry of this index has counted, or, for -1, the calls of this
 * database that had no entry; *since is when they were zero.  False if nothing is
 * counted.
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

/* What is counted of this database; false if nothing is. */
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

void
seckill_stat_reset_counts(void)
{
	DatabaseStats *database = my_database();

	if (database == NULL)
		return;
	for (int i = 0; i < SECKILL_STATS; i++)
		pg_atomic_write_u64(&database->counts[i], 0);
}
