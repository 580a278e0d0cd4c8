/*
 * stat.h
 *		Statistics in shared memory.
 */
#ifndef SECKILL_SHMEM_STAT_H
#define SECKILL_SHMEM_STAT_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "portability/instr_time.h"
#include "storage/lwlock.h"

#include "base/shmem.h"
#include "seckill.h"

/* What is counted of a database, in the order of the columns. */
typedef enum SeckillStat
{
	/* the queue worker */
	SECKILL_STAT_STARTS,
	SECKILL_STAT_BATCHES,
	SECKILL_STAT_DECIDED,		/* purchases */
	SECKILL_STAT_DEFERRED,		/* times that a purchase was deferred */
	SECKILL_STAT_FAILED,		/* purchases that got an error */
	/* any process */
	SECKILL_STAT_SETTLES,
	SECKILL_STAT_SETTLED_UNITS,
	SECKILL_STAT_REFILLS,
	SECKILL_STAT_SQL_WRITES,	/* orders and items written by SQL */
	/* the maintenance worker */
	SECKILL_STAT_EXPIRED,		/* orders */
	SECKILL_STAT_EXPIRY_BATCHES,
	SECKILL_STAT_PREWARMS,
	SECKILL_STAT_RELEASES,
	/* any process, about seats */
	SECKILL_STAT_MAP_LOADS,
	SECKILL_STAT_MAP_CORRECTIONS,
	SECKILL_STAT_SEATS_MISSED
} SeckillStat;

#define SECKILL_STATS	(SECKILL_STAT_SEATS_MISSED + 1)

/* Counters of an item in one mode, in the order of the view's columns. */
typedef enum CallStat
{
	CALL_CALLS,
	CALL_OUTCOMES,				/* the first of SECKILL_OUTCOMES counters */
	CALL_UNITS = CALL_OUTCOMES + SECKILL_OUTCOMES,
	CALL_RETRIES,
	CALL_REFILLS,
	CALL_WAITS,
	CALL_WAIT_TIME,				/* nanoseconds, like all times here */
	CALL_TOTAL_TIME,
	CALL_MAX_TIME
} CallStat;

#define CALL_STATS		(CALL_MAX_TIME + 1)

/* The counters of an item, by mode. */
typedef int64 StatSums[SECKILL_MODES][CALL_STATS];

/* Events during calls. */
typedef struct StatEvents
{
	int64		retries;
	int64		refills;
	int64		waits;
	int64		wait_time;		/* nanoseconds */
} StatEvents;

/* The beginning of a call. */
typedef struct StatCall
{
	instr_time	start;
	StatEvents	before;
	int64		share;			/* nanoseconds of each purchase; -1: not known */
} StatCall;

#define STAT_STRIPES	4

/* The counters of a mode, padded to cache lines of 64 bytes. */
typedef pg_atomic_uint64 StatLine[TYPEALIGN(8, CALL_STATS)];

/* Counters that the processes of one stripe add to. */
typedef union StatStripe
{
	StatLine	lines[SECKILL_MODES];
	char		pad[TYPEALIGN(PG_CACHE_LINE_SIZE,
							  sizeof(StatLine) * SECKILL_MODES)];
} StatStripe;

/* The counters of an entry, or of the calls of a database without one. */
typedef struct CallStats
{
	StatStripe	stripes[STAT_STRIPES];
	pg_atomic_uint64 since;		/* when they were zero */
} CallStats;

typedef union PaddedStats
{
	CallStats	stats;
	char		pad[TYPEALIGN(PG_CACHE_LINE_SIZE, sizeof(CallStats))];
} PaddedStats;

/* The counters of a database. */
typedef struct DatabaseStats
{
	PaddedStats calls;			/* those that had no entry */
	Oid			dbid;			/* InvalidOid: not in use; under stats->lock */
	pg_atomic_uint64 counts[SECKILL_STATS];
} DatabaseStats;

typedef struct Stats
{
	LWLock	   *lock;
} Stats;

extern const SeckillShmem seckill_stat_shmem;
extern void seckill_stat_forget(int index);
extern void seckill_stat_drop_database(Oid dbid);
extern void seckill_stat_count(SeckillStat what, int64 n);
extern void seckill_stat_note_retry(void);
extern void seckill_stat_note_refill(void);
extern void seckill_stat_note_wait(instr_time start);
extern void seckill_stat_begin(StatCall *call);
extern void seckill_stat_share(StatCall *call, int n);
extern void seckill_stat_end(const StatCall *call, const Purchase *list, int n,
							 int index);
extern void seckill_stat_decided(const Purchase *p, int index, bool awaited);
extern bool seckill_stat_read_calls(int index, StatSums sums,
									TimestampTz *since);
extern void seckill_stat_reset_calls(int index);
extern bool seckill_stat_read_counts(int64 *counts, TimestampTz *since);
extern void seckill_stat_reset_counts(void);

#endif							/* SECKILL_SHMEM_STAT_H */
