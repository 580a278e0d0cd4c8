/*
 * cache.c
 *		The stock cache: directory, pins and eviction of its entries.
 *
 * The cache is derived from the tables and may vanish at any moment.  It has
 * an entry for each item on sale: the rules of the sale, a sold-out flag, and
 * the counters of one lease.  A lease is a number of units that a committed
 * transaction moved from the item's row to shared memory.  Its random lease_id
 * is on the row too, as a fencing token: an order written for units of a dead
 * lease finds no matching row.
 *
 * An entry has these parts; struct CacheEntry in cache_private.h shows which
 * lock protects which field:
 *
 * - Directory: a shared hash table from (database, items table, item) to an
 *   index in the array of entries.  It is read under the LWLock in shared mode
 *   and changed under it in exclusive mode.  key and live of an entry are
 *   written under the exclusive lock.
 * - Pins: a backend may access an entry only while one of its pin slots names
 *   it.  An entry is reused only if no slot names it and it has no units, no
 *   holder and no refiller.  To pin an entry is to store to the backend's own
 *   cache line, so a refused call writes no shared cache line.
 * - Callers: the number of pins that are counted as calls in a row mode.  A
 *   pin that is dropped is no longer counted, so the number is 0 when no call
 *   is left.
 * - Rules, sold-out flag, counters and generation: see cache_counters.c.
 * - Window of calls, for mode auto: see cache_calls.c.
 * - Number ring, if the units of the item have numbers: see cache_numbers.c.
 * - Holders, kept per backend: see holders.c.
 *
 * The LWLock is seckill_cache_state->lock.  It is acquired before an entry's
 * spinlock, never after.  Nothing here calls SPI, waits for a heavyweight lock
 * or raises an error while it has the LWLock or a spinlock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/hsearch.h"

#include "base/fault.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_private.h"
#include "shmem/counters.h"
#include "shmem/stat.h"

/* Raise unless there is shared memory; name is the mode that needs it. */
void
seckill_cache_check_preloaded(const char *name)
{
	if (!seckill_cache_ready())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("mode \"%s\" needs shared memory", name),
				 errhint("Add seckill to shared_preload_libraries and restart the server, or use another mode.")));
}


/* Raise unless there is a stock cache, for calls that act on it. */
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
 * The pins of this backend, innermost last: the nest level that set each, and
 * whether it is counted in callers.
 */
static int	npins = 0;
static int	pin_level[PINS_PER_BACKEND];
static bool pin_joined[PINS_PER_BACKEND];

/*
 * The entries that this backend used last, by the lowest bits of their items.
 * An entry may belong to another item by now.
 */
#define HINTS	64
static CacheEntry *hints[HINTS];


/*
 * Shared memory
 */

static void
request(void)
{
	HASHCTL		info = {.keysize = sizeof(CacheKey),
	.entrysize = sizeof(CacheSlot)};

	seckill_shmem_struct("seckill cache", sizeof(CacheState),
						 (void **) &seckill_cache_state);
	seckill_shmem_struct("seckill cache entries",
						 mul_size(seckill_max_items, sizeof(PaddedEntry)),
						 (void **) &seckill_cache_entries);
	seckill_shmem_struct("seckill cache backends",
						 mul_size(MaxBackends, sizeof(CacheBackend)),
						 (void **) &seckill_cache_backends);
	seckill_cache_request_rings();
	seckill_shmem_hash("seckill cache directory", seckill_max_items, &info,
					   HASH_ELEM | HASH_BLOBS, &seckill_cache_directory);
}

static void
init_entry(CacheEntry *entry, int index)
{
	memset(entry, 0, sizeof(CacheEntry));
	entry->next_free = index + 1 < seckill_max_items ? index + 1 : -1;
	entry->ring = -1;
	pg_atomic_init_u32(&entry->rules_seq, 0);
	pg_atomic_init_u64(&entry->checked_at, 0);
	pg_atomic_init_u64(&entry->certified_until, 0);
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
	seckill_cache_init_rings();
	for (int i = 0; i < MaxBackends; i++)
		init_backend(&seckill_cache_backends[i]);
}

const SeckillShmem seckill_cache_shmem = {
	.tranche = "seckill_cache",
	.request = request,
	.init = init
};

/* Is the library preloaded, so that there is a cache? */
bool
seckill_cache_ready(void)
{
	return seckill_cache_state != NULL;
}


/*
 * Pins
 */

/*
 * Pin the entry for the current nest level.  The caller has made sure that
 * there is a free pin slot, and either has the LWLock or checks the entry
 * again after this.  Does not raise.
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
 * Drop the innermost pin, and stop counting it in callers.
 *
 * A backend that finds the slot empty may give the entry to another item, so
 * our reads and writes of the entry must be done before the slot is cleared.
 * pg_write_barrier() orders the writes by definition.  It also orders our
 * earlier reads before the later write on every platform: x86 never reorders
 * these, on POWER the barrier is lwsync, and elsewhere, on ARM for example, it
 * is a release fence.
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

/*
 * Drop the innermost pin, which must be that of entry; does nothing for NULL.
 */
void
seckill_cache_unpin(CacheEntry *entry)
{
	if (entry == NULL)
		return;
	Assert(npins > 0);
	drop_pin();
}

/*
 * Drop the pins that this nest level and those inside it have left; does not
 * raise.
 */
void
seckill_cache_unpin_level(int level)
{
	while (npins > 0 && pin_level[npins - 1] >= level)
		drop_pin();
}

/*
 * Count the innermost pin, which is on entry, in the entry's callers until it
 * is dropped.  One caller is served while max_waiters others may wait.
 * Returns false, and counts nothing, if more than max_waiters are counted
 * already.
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

/* Does any backend have a pin on the entry? */
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

/* Is this the entry of key?  Without a pin or the LWLock, only a hint. */
static inline bool
has_key(CacheEntry *entry, const CacheKey *key)
{
	if (!entry->live)
		return false;
	pg_read_barrier();
	return memcmp(&entry->key, key, sizeof(CacheKey)) == 0;
}

/* The hint for an item. */
static inline CacheEntry **
hint_of(const CacheKey *key)
{
	return &hints[key->item_id & (HINTS - 1)];
}

/*
 * Pin the entry that the hint names, if it is still the entry of key; NULL if
 * not.
 *
 * live is read again after the pin, see seckill_cache_evict().
 */
static CacheEntry *
pin_hinted(const CacheKey *key)
{
	CacheEntry *entry = *hint_of(key);

	if (entry == NULL || !has_key(entry, key))
		return NULL;
	seckill_cache_pin(entry);
	SECKILL_CRASH("entry pinned again");
	if (has_key(entry, key))
		return entry;
	seckill_cache_unpin(entry);
	return NULL;
}

/*
 * Raise if this backend has no free pin slot.  A search that cannot pin must
 * not return NULL, which means that there is no entry.
 */
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

/*
 * Find and pin the entry of key; NULL if there is none.  There is a free pin
 * slot.  Does not raise.
 */
static CacheEntry *
find_entry(const CacheKey *key)
{
	CacheEntry *entry = pin_hinted(key);
	CacheSlot  *slot;

	if (entry != NULL)
		return entry;

	LWLockAcquire(seckill_cache_state->lock, LW_SHARED);
	slot = hash_search(seckill_cache_directory, key, HASH_FIND, NULL);
	if (slot != NULL)
	{
		entry = &seckill_cache_entries[slot->index].entry;
		seckill_cache_pin(entry);
	}
	LWLockRelease(seckill_cache_state->lock);
	if (entry != NULL)
		*hint_of(key) = entry;
	return entry;
}

/*
 * Find and pin the entry of an item of a table; NULL if it has none, or if
 * there is no cache.  Raises if there is no free pin slot.
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

/*
 * Find and pin the entry of an item, in a commit callback: returns NULL where
 * seckill_cache_find() would raise.  There is a cache.
 */
CacheEntry *
seckill_cache_find_in_callback(Oid items, int64 item_id)
{
	CacheKey	key;

	if (npins >= PINS_PER_BACKEND)
		return NULL;
	set_key(&key, items, item_id);
	return find_entry(&key);
}

/*
 * Remove the entry from the directory and put it on the free list.  The caller
 * has the LWLock exclusively.
 */
static void
free_entry(CacheEntry *entry)
{
	hash_search(seckill_cache_directory, &entry->key, HASH_REMOVE, NULL);
	seckill_cache_free_ring(entry);
	entry->live = false;
	entry->next_free = seckill_cache_state->first_free;
	seckill_cache_state->first_free = entry_number(entry) - 1;
}

/* Does the entry have no units, no holder and no refiller? */
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
 * Evict the entry, unless it is in use.  The caller has the LWLock
 * exclusively, so only pin_hinted() can pin the entry meanwhile.
 *
 * pin_hinted() sets its pin and then reads live; we clear live and then read the
 * pins.  So at least one of the two sees what the other has written.
 * is_idle() is called again after that, because its answer is final only when
 * no backend has a pin: one that had a pin before may have left a hold or the
 * refiller's role.
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
 * Evict an entry if none is unused.  Returns whether there is an unused entry.
 * The caller has the LWLock exclusively.  Examines EVICTION_TRIES entries at
 * most, because with a full cache this runs in every call for an item that has
 * no entry.
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

/*
 * Return a random lease_id.  It is practically unique among all leases ever
 * made, also those of other databases and of backups.  Raises if there are no
 * random numbers.
 */
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
		id &= PG_INT64_MAX >> 1;	/* leaves room to count up */
	} while (id == 0);
	return id;
}

/*
 * Give an unused entry to the item of slot.  The caller has the LWLock
 * exclusively, and there is an unused entry.
 */
static CacheEntry *
use_entry(CacheSlot *slot, int64 lease_id)
{
	CacheEntry *entry = &seckill_cache_entries[seckill_cache_state->first_free].entry;

	slot->index = seckill_cache_state->first_free;
	seckill_cache_state->first_free = entry->next_free;
	entry->key = slot->key;
	entry->known = false;
	entry->sold_out = false;
	entry->row_exhausted = false;
	pg_atomic_write_u64(&entry->checked_at, 0);
	pg_atomic_write_u64(&entry->certified_until, 0);
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
 * Find or make the entry of an item, and pin it.  Returns NULL if there is no
 * cache, if all entries are in use, or during recovery: a standby must be
 * promoted with an empty cache.  Raises if there is no free pin slot.
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

	if (entry != NULL)
		*hint_of(&key) = entry;
	return entry;
}


/* Return the index of an entry; -1 for NULL. */
int
seckill_cache_index(const CacheEntry *entry)
{
	return entry == NULL ? -1 :
		(int) ((const PaddedEntry *) entry - seckill_cache_entries);
}
