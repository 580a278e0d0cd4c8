/*
 * cache_private.h
 *		TODO
 */
#ifndef SECKILL_SHMEM_CACHE_PRIVATE_H
#define SECKILL_SHMEM_CACHE_PRIVATE_H

#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/hsearch.h"

#include "base/clock.h"
#include "seckill.h"
#include "shmem/counters.h"

#define PINS_PER_BACKEND	8

typedef struct CacheKey
{
	Oid			dbid;
	Oid			items;			/* OID of seckill.items: one incarnation */
	int64		item_id;
} CacheKey;

typedef struct CacheSlot
{
	CacheKey	key;			/* hash key, first */
	int			index;
} CacheSlot;

struct CacheEntry
{
	/* written under seckill_cache_state->lock */
	CacheKey	key;
	bool		live;
	int			next_free;

	/* written under mutex, read by sequence */
	pg_atomic_uint32 rules_seq;
	bool		known;
	bool		sold_out;
	SaleRules	rules;
	pg_atomic_uint64 checked_at;

	/* under mutex, on a cache line of their own */
	char		pad[PG_CACHE_LINE_SIZE];
	slock_t		mutex;
	bool		dry;			/* the committed row has nothing to lease */
	LeaseCounters counters;
	bool		refilling;		/* a transaction has the refiller's lock */
	bool		hot;			/* see seckill_cache_record_calls() */
	int32		calls;			/* of mode auto, in this window */
	int32		conflicts;		/* lost races, in this window */
	ClockTime	window;			/* start of it; 0: none yet */

	/* calls in a row mode, each counted by one pin; while there is a cap */
	pg_atomic_uint32 callers;
};

typedef union PaddedEntry
{
	CacheEntry	entry;
	char		pad[TYPEALIGN(PG_CACHE_LINE_SIZE, sizeof(CacheEntry))];
} PaddedEntry;

/* What one backend shows the others.  0 is empty; seckill_cache_entries count from 1. */
typedef struct CacheBackend
{
	pg_atomic_uint32 pins[PINS_PER_BACKEND];
	pg_atomic_uint32 nholds;	/* holds[] is empty from here on */
	pg_atomic_uint32 moves;		/* odd: units are between places */
	pg_atomic_uint64 holds[SECKILL_MAX_HOLDS];	/* entry << 32 | xid */
} CacheBackend;

typedef struct CacheState
{
	LWLock	   *lock;
	int			first_free;		/* index of an unused entry, or -1 */
	int			hand;			/* where the search for a victim goes on */
} CacheState;

extern CacheState *seckill_cache_state;

extern PaddedEntry *seckill_cache_entries;

extern CacheBackend *seckill_cache_backends;

extern HTAB *seckill_cache_directory;

static inline uint32
entry_number(CacheEntry *entry)
{
	return (uint32) ((PaddedEntry *) entry - seckill_cache_entries) + 1;
}

static inline CacheBackend *
my_backend(void)
{
	return &seckill_cache_backends[SeckillMyProcIndex()];
}

#endif							/* SECKILL_SHMEM_CACHE_PRIVATE_H */
