/*
 * stock.c
 *		The stock cache: what shared memory knows of items on sale.
 *
 * The cache is derived from the tables and may vanish at any moment.  It has
 * an entry per item: the rules of the sale, a sold-out flag, and the counters
 * of one lease.  A lease is units that a committed transaction moved from the
 * item's row to this memory; its random lease_id stands on the row as a
 * fencing token, so that an order written for units of a dead lease finds no
 * row to match.
 *
 * Where things are and who may touch them:
 *
 * - The directory, a shared hash from (database, items table, item) to an
 *   index into the array of entries.  Read under stock->lock in share mode,
 *   changed under it in exclusive mode.  key and live of an entry are written
 *   under the same exclusive lock.
 * - Pins.  A backend may look at an entry only while one of its pin slots
 *   names it; an entry is reused only when no slot names it and it has no
 *   units, no holder and no refiller.  A pin is a store to the backend's own
 *   cache line, so a refusal writes no shared line.
 * - Counters: lease_id, avail, held, generation, refilling and dry, under the
 *   entry's spinlock.  avail is what anyone may take.  held is what running
 *   transactions have taken (they give it back on abort) or have leased and
 *   not committed (it becomes avail on commit).  Both count units of lease_id
 *   only: units of another lease_id are dead and are dropped.
 *   Their arithmetic is in counters.h, which the model in model/ shares.
 * - The generation rises whenever units become available or the row may have
 *   changed.  Who reads the generation, then the row, then the counters, and
 *   finds the generation unchanged has seen one moment; this is how sold-out
 *   is proved and how rules are learned without a lock on the row.
 * - Rules and flag: written under the spinlock inside an odd rules_seq, read
 *   without any lock and read again if the sequence moved (a sequence lock).
 * - Callers: how many pins are counted as calls in a row mode.  A count ends
 *   with its pin, so it is 0 when nobody is there.
 * - Holders: per backend, SECKILL_MAX_HOLDS words of (entry, xid), written by
 *   that backend, read by those who must wait for a holder.  A place is shown
 *   before units are taken under the mutex, and hidden after they are given
 *   back under it.  So whoever has the mutex and finds units held while no
 *   place shows the entry knows that they are lost.  moves is odd while a
 *   backend moves units from one of its places to another.  A place whose
 *   transaction has ended is cleared by whoever has waited for that.
 *
 * Nothing here calls SPI, waits for a heavyweight lock or raises an error
 * while it holds stock->lock or a spinlock.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/fault.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_private.h"
#include "shmem/counters.h"
#include "shmem/stat.h"

/*
 * Arguments
 */

void
seckill_cache_check_preloaded(const char *name)
{
	if (!seckill_cache_ready())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("mode \"%s\" needs shared memory", name),
				 errhint("Add seckill to shared_preload_libraries and restart the server, or use another mode.")));
}

/* Raise if the queue cannot be used here. */
void
seckill_ring_check_preloaded(void)
{
	seckill_cache_check_preloaded("queue");
}


/*
 * By hand
 */

void
seckill_cache_require(void)
{
	if (!seckill_cache_ready())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no stock cache"),
				 errhint("Add seckill to shared_preload_libraries and restart the server.")));
}

#define EVICTION_TRIES		64

CacheState *seckill_cache_state = NULL;
PaddedEntry *seckill_cache_entries = NULL;
CacheBackend *seckill_cache_backends = NULL;
HTAB	   *seckill_cache_directory = NULL;

/*
 * My pins, innermost last, with the nest level that set each, and whether it
 * is counted in callers.
 */
static int	npins = 0;
static int	pin_level[PINS_PER_BACKEND];
static bool pin_joined[PINS_PER_BACKEND];

/* The entry I used last: most sessions buy one item. */
static CacheEntry *last_entry = NULL;


/*
 * Shared memory
 */

static void
request(void)
{
	HASHCTL		info = {.keysize = sizeof(CacheKey),
	.entrysize = sizeof(CacheSlot)};

	seckill_shmem_struct("seckill seckill_cache_state", sizeof(CacheState),
						 (void **) &seckill_cache_state);
	seckill_shmem_struct("seckill seckill_cache_entries",
						 mul_size(seckill_max_items, sizeof(PaddedEntry)),
						 (void **) &seckill_cache_entries);
	seckill_shmem_struct("seckill seckill_cache_backends",
						 mul_size(MaxBackends, sizeof(CacheBackend)),
						 (void **) &seckill_cache_backends);
	seckill_shmem_hash("seckill seckill_cache_directory", seckill_max_items, &info,
					   HASH_ELEM | HASH_BLOBS, &seckill_cache_directory);
}

static void
init_entry(CacheEntry *entry, int index)
{
	memset(entry, 0, sizeof(CacheEntry));
	entry->next_free = index + 1 < seckill_max_items ? index + 1 : -1;
	pg_atomic_init_u32(&entry->rules_seq, 0);
	pg_atomic_init_u64(&entry->checked_at, 0);
	pg_atomic_init_u32(&entry->callers, 0);
	SpinLockInit(&entry->mutex);
}

static void
init_backend(CacheBackend *backend)
{
	for (int i = 0; i < PINS_PER_BACKEND; i++)
		pg_atomic_init_u32(&backend->pins[i], 0);
	pg_atomic_init_u32(&backend->nholds, 0);
	pg_atomic_init_u32(&backend->moves, 0);
	for (int i = 0; i < SECKILL_MAX_HOLDS; i++)
		pg_atomic_init_u64(&backend->holds[i], 0);
}

static void
init(void)
{
	seckill_cache_state->lock = seckill_shmem_lock(&seckill_cache_shmem);
	seckill_cache_state->first_free = 0;
	seckill_cache_state->hand = 0;
	for (int i = 0; i < seckill_max_items; i++)
		init_entry(&seckill_cache_entries[i].entry, i);
	for (int i = 0; i < MaxBackends; i++)
		init_backend(&seckill_cache_backends[i]);
}

const SeckillShmem seckill_cache_shmem = {"seckill_stock", request, init};

/* Is the library preloaded, so that there is a cache at all? */
bool
seckill_cache_ready(void)
{
	return seckill_cache_state != NULL;
}


/*
 * Pins
 */

void
seckill_cache_pin(CacheEntry *entry)
{
	pg_atomic_write_u32(&my_backend()->pins[npins], entry_number(entry));
	pin_level[npins] = GetCurrentTransactionNestLevel();
	pin_joined[npins] = false;
	npins++;
	pg_memory_barrier();
}

/*
 * Drop the innermost pin, and leave the callers if it is counted there.
 *
 * Whoever finds the slot empty may give the entry to another item, so what we
 * have read and written there must come first.  The barrier sees to it: beyond
 * its name it keeps reads before later writes as well, as x86 does anyway, lwsync
 * on POWER, and the release fence that it is elsewhere, on ARM for one.
 */
static void
drop_pin(void)
{
	pg_atomic_uint32 *slot = &my_backend()->pins[--npins];
	CacheEntry *entry = &seckill_cache_entries[pg_atomic_read_u32(slot) - 1].entry;

	if (pin_joined[npins])
		pg_atomic_fetch_sub_u32(&entry->callers, 1);
	pg_write_barrier();
	pg_atomic_write_u32(slot, 0);
}

/* Drop the innermost pin, which must be the one on entry; NULL is no pin. */
void
seckill_cache_unpin(CacheEntry *entry)
{
	if (entry == NULL)
		return;
	Assert(npins > 0);
	drop_pin();
}

/* Drop the pins that nest level and those inside it left behind. */
void
seckill_cache_unpin_level(int level)
{
	while (npins > 0 && pin_level[npins - 1] >= level)
		drop_pin();
}

/*
 * Join the callers of the entry, on which the innermost pin is, until that is
 * dropped.  One of them is served and max_waiters may wait: if they are there
 * already, nothing is written, and the answer is false.
 */
bool
seckill_cache_join(CacheEntry *entry, int32 max_waiters)
{
	uint32		callers = pg_atomic_read_u32(&entry->callers);

	Assert(npins > 0 && !pin_joined[npins - 1]);
	do
	{
		if (callers > (uint32) max_waiters)
			return false;
	} while (!pg_atomic_compare_exchange_u32(&entry->callers, &callers,
											 callers + 1));
	pin_joined[npins - 1] = true;
	return true;
}

static bool
is_pinned(CacheEntry *entry)
{
	uint32		number = entry_number(entry);

	for (int i = 0; i < MaxBackends; i++)
		for (int j = 0; j < PINS_PER_BACKEND; j++)
			if (pg_atomic_read_u32(&seckill_cache_backends[i].pins[j]) == number)
				return true;
	return false;
}


/*
 * Directory
 */

static void
set_key(CacheKey *key, Oid items, int64 item_id)
{
	key->dbid = MyDatabaseId;
	key->items = items;
	key->item_id = item_id;
}

static inline bool
has_key(CacheEntry *entry, const CacheKey *key)
{
	if (!entry->live)
		return false;
	pg_read_barrier();
	return memcmp(&entry->key, key, sizeof(CacheKey)) == 0;
}

/* Pin the entry I used last, if it is still the entry of key. */
static bool
pin_last(const CacheKey *key)
{
	if (last_entry == NULL || !has_key(last_entry, key))
		return false;
	seckill_cache_pin(last_entry);
	SECKILL_CRASH("entry pinned again");
	if (has_key(last_entry, key))
		return true;
	seckill_cache_unpin(last_entry);
	return false;
}

/* NULL must mean "no entry", so a call that cannot pin is an error. */
void
seckill_cache_check_nesting(void)
{
	if (npins >= PINS_PER_BACKEND)
		ereport(ERROR,
				(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
				 errmsg("purchases are nested too deeply"),
				 errdetail("A trigger on seckill.orders that buys can nest %d calls.",
						   PINS_PER_BACKEND)));
}

/* Find and pin an entry; there is room for the pin. */
static CacheEntry *
find_entry(const CacheKey *key)
{
	CacheSlot  *slot;

	if (pin_last(key))
		return last_entry;

	LWLockAcquire(seckill_cache_state->lock, LW_SHARED);
	slot = hash_search(seckill_cache_directory, key, HASH_FIND, NULL);
	if (slot != NULL)
	{
		last_entry = &seckill_cache_entries[slot->index].entry;
		seckill_cache_pin(last_entry);
	}
	LWLockRelease(seckill_cache_state->lock);
	return slot != NULL ? last_entry : NULL;
}

/*
 * Find and pin the entry of an item of a table; NULL if it has none, or if
 * there is no cache.
 */
CacheEntry *
seckill_cache_find(Oid items, int64 item_id)
{
	CacheKey	key;

	if (seckill_cache_state == NULL)
		return NULL;
	seckill_cache_check_nesting();
	set_key(&key, items, item_id);
	return find_entry(&key);
}

/* Like seckill_cache_find(), for a commit callback, which must not raise. */
CacheEntry *
seckill_cache_find_in_callback(Oid items, int64 item_id)
{
	CacheKey	key;

	if (npins >= PINS_PER_BACKEND)
		return NULL;
	set_key(&key, items, item_id);
	return find_entry(&key);
}

/* Caller holds seckill_cache_state->lock exclusively. */
static void
free_entry(CacheEntry *entry)
{
	hash_search(seckill_cache_directory, &entry->key, HASH_REMOVE, NULL);
	entry->live = false;
	entry->next_free = seckill_cache_state->first_free;
	seckill_cache_state->first_free = entry_number(entry) - 1;
}

static bool
is_idle(CacheEntry *entry)
{
	bool		idle;

	SpinLockAcquire(&entry->mutex);
	idle = counters_idle(&entry->counters) && !entry->refilling;
	SpinLockRelease(&entry->mutex);
	return idle;
}

/*
 * Take the entry away from its item unless it matters to somebody.  Caller
 * holds seckill_cache_state->lock exclusively, so nobody but pin_last() can pin it; that
 * looks at live again after its pin, so one of the two sees the other.  Only
 * then the question whether it is idle has a lasting answer: who was pinned
 * before has left a hold or a role behind, or nothing.
 */
void
seckill_cache_evict(CacheEntry *entry)
{
	if (!entry->live || !is_idle(entry))
		return;
	entry->live = false;
	SECKILL_CRASH("eviction begun");
	pg_memory_barrier();
	if (is_pinned(entry) || !is_idle(entry))
		entry->live = true;
	else
		free_entry(entry);
}

/*
 * Caller holds seckill_cache_state->lock exclusively.  Is there an unused entry now?  Looks
 * at a few only: with a full cache this runs in every call for a new item.
 */
static bool
make_room(void)
{
	int			tries = Min(seckill_max_items, EVICTION_TRIES);

	for (int i = 0; i < tries && seckill_cache_state->first_free < 0; i++)
	{
		seckill_cache_evict(&seckill_cache_entries[seckill_cache_state->hand].entry);
		seckill_cache_state->hand = (seckill_cache_state->hand + 1) % seckill_max_items;
	}
	return seckill_cache_state->first_free >= 0;
}

/* A lease_id that no lease of any database, copy or time has had. */
static int64
new_lease_id(void)
{
	int64		id;

	do
	{
		if (!pg_strong_random(&id, sizeof(id)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate a random lease id")));
		id &= PG_INT64_MAX >> 1;	/* room to count on */
	} while (id == 0);
	return id;
}

/* Caller holds seckill_cache_state->lock exclusively, and there is an unused entry. */
static CacheEntry *
use_entry(CacheSlot *slot, int64 lease_id)
{
	CacheEntry *entry = &seckill_cache_entries[seckill_cache_state->first_free].entry;

	slot->index = seckill_cache_state->first_free;
	seckill_cache_state->first_free = entry->next_free;
	entry->key = slot->key;
	entry->known = false;
	entry->sold_out = false;
	entry->dry = false;
	pg_atomic_write_u64(&entry->checked_at, 0);
	entry->counters.avail = 0;
	entry->counters.held = 0;
	entry->counters.lease_id = lease_id;
	entry->counters.generation++;
	entry->refilling = false;
	entry->hot = false;
	entry->window = 0;
	entry->calls = entry->conflicts = 0;
	seckill_stat_forget(seckill_cache_index(entry));
	pg_write_barrier();
	entry->live = true;
	return entry;
}

/*
 * Find or make the entry of an item, and pin it.  NULL when there is no cache,
 * when it is full of seckill_cache_entries that matter, or during recovery: a standby must
 * come up with nothing in memory.
 */
CacheEntry *
seckill_cache_enter(Oid items, int64 item_id)
{
	CacheEntry *entry = seckill_cache_find(items, item_id);
	CacheKey	key;
	CacheSlot  *slot;
	int64		lease_id;

	if (entry != NULL || seckill_cache_state == NULL || RecoveryInProgress())
		return entry;

	set_key(&key, items, item_id);
	lease_id = new_lease_id();
	LWLockAcquire(seckill_cache_state->lock, LW_EXCLUSIVE);
	slot = hash_search(seckill_cache_directory, &key, HASH_FIND, NULL);
	if (slot != NULL)
		entry = &seckill_cache_entries[slot->index].entry;
	else if (make_room())
	{
		slot = hash_search(seckill_cache_directory, &key, HASH_ENTER_NULL, NULL);
		if (slot != NULL)
			entry = use_entry(slot, lease_id);
	}
	if (entry != NULL)
		seckill_cache_pin(entry);
	LWLockRelease(seckill_cache_state->lock);

	last_entry = entry;
	return entry;
}


/*
 * Looking at it
 */

/* The number of an entry among all, from 0; -1 for NULL. */
int
seckill_cache_index(const CacheEntry *entry)
{
	return entry == NULL ? -1 :
		(int) ((const PaddedEntry *) entry - seckill_cache_entries);
}
