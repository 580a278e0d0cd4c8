/*
 * cache_private.h
 *		Structures of the stock cache in shared memory.
 *
 * For the files of the cache only: cache.c, cache_calls.c, cache_counters.c,
 * cache_numbers.c, cache_scan.c and holders.c.  All others know a CacheEntry
 * as a pointer that they have pinned.
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
#include "shmem/numbers.h"

/* Calls that can be nested, by triggers that buy. */
#define PINS_PER_BACKEND	8

/* The key of an entry: its item. */
typedef struct CacheKey
{
	Oid			dbid;
	Oid			items;			/* seckill.items; a new OID after CREATE
								 * EXTENSION */
	int64		item_id;
} CacheKey;

/* An element of the directory. */
typedef struct CacheSlot
{
	CacheKey	key;			/* hash key, first */
	int			index;
} CacheSlot;

struct CacheEntry
{
	/* written under the LWLock, exclusively */
	CacheKey	key;
	bool		live;
	int			next_free;		/* index of the next unused entry, or -1 */

	/* written under the spinlock, read without a lock, see rules_seq */
	pg_atomic_uint32 rules_seq;
	bool		known;
	bool		sold_out;
	SaleRules	rules;
	pg_atomic_uint64 checked_at;

	/* of a split item: see seckill_cache_set_certified() */
	pg_atomic_uint64 certified_until;

	/* under the spinlock, on a cache line of their own */
	char		pad[PG_CACHE_LINE_SIZE];
	slock_t		mutex;
	bool		row_exhausted;	/* the committed row has nothing to lease */
	LeaseCounters counters;
	int			ring;			/* index of its number ring, or -1 */
	bool		refilling;		/* a transaction has the refiller's role */
	bool		hot;			/* see seckill_cache_record_calls() */
	int32		calls;			/* of mode auto, in this window */
	int32		conflicts;		/* lost races, in this window */
	ClockTime	window;			/* start of the window; 0: none yet */

	/* calls in a row mode, one per counted pin; while max_waiters applies */
	pg_atomic_uint32 callers;
};

typedef union PaddedEntry
{
	CacheEntry	entry;
	char		pad[TYPEALIGN(PG_CACHE_LINE_SIZE, sizeof(CacheEntry))];
} PaddedEntry;

/*
 * What one backend shows the others; only that backend sets a slot.  In pins
 * and holds, entries are numbered from 1 and 0 is an empty slot.
 */
typedef struct CacheBackend
{
	pg_atomic_uint32 pins[PINS_PER_BACKEND];
	pg_atomic_uint32 nholds;	/* slots of holds from here on are empty */
	pg_atomic_uint32 moves;		/* odd: units are moving between slots */
	pg_atomic_uint64 holds[SECKILL_MAX_HOLDS];	/* entry << 32 | xid */
} CacheBackend;

typedef struct CacheState
{
	LWLock	   *lock;			/* the LWLock of the cache */
	int			first_free;		/* index of the first unused entry, or -1 */
	int			hand;			/* clock hand: next candidate for eviction */
	int			ring_hand;		/* the same for number rings */
} CacheState;

/*
 * The numbers of the units that an entry has on sale.  The ring changes under
 * the spinlock of its entry, its owner under the LWLock, exclusively.
 */
typedef struct OwnedRing
{
	uint32		owner;			/* number of the entry, or 0 */
	NumberRing	ring;
} OwnedRing;

/* in shared memory; NULL without preload */
extern CacheState *seckill_cache_state;
extern PaddedEntry *seckill_cache_entries;	/* seckill.max_items */
extern CacheBackend *seckill_cache_backends;	/* MaxBackends */
extern HTAB *seckill_cache_directory;

/* cache.c */
extern void seckill_cache_pin(CacheEntry *entry);
extern void seckill_cache_check_nesting(void);
extern void seckill_cache_evict(CacheEntry *entry);

/* cache_numbers.c */
extern void seckill_cache_request_rings(void);
extern void seckill_cache_init_rings(void);
extern NumberRing *seckill_cache_ring(CacheEntry *entry);
extern void seckill_cache_free_ring(CacheEntry *entry);

/* cache_counters.c */
extern void seckill_cache_start_lease(CacheEntry *entry);
extern void seckill_cache_forget_rules(CacheEntry *entry);

/* The number of an entry in pins and holds. */
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
