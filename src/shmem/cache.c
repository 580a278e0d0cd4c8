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
 * - Holders: per backend, SECKILL_PLACES words of (entry, xid), written by
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
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "seckill.h"

#define PINS_PER_BACKEND	8
#define EVICTION_TRIES		64

#define HEAT_WINDOW			USECS_PER_SEC
#define HOT_CONFLICTS		10

typedef struct StockKey
{
	Oid			dbid;
	Oid			items;			/* OID of seckill.items: one incarnation */
	int64		item_id;
} StockKey;

typedef struct StockSlot
{
	StockKey	key;			/* hash key, first */
	int			index;
} StockSlot;

struct StockEntry
{
	/* written under stock->lock */
	StockKey	key;
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
	StockCounters counters;
	bool		refilling;		/* a transaction has the refiller's lock */
	bool		hot;			/* see seckill_stock_heat() */
	int32		calls;			/* of mode auto, in this window */
	int32		conflicts;		/* lost races, in this window */
	ClockTime	window;			/* start of it; 0: none yet */

	/* calls in a row mode, each counted by one pin; while there is a cap */
	pg_atomic_uint32 callers;
};

typedef union PaddedEntry
{
	StockEntry	entry;
	char		pad[TYPEALIGN(PG_CACHE_LINE_SIZE, sizeof(StockEntry))];
} PaddedEntry;

/* What one backend shows the others.  0 is empty; entries count from 1. */
typedef struct StockBackend
{
	pg_atomic_uint32 pins[PINS_PER_BACKEND];
	pg_atomic_uint32 nholds;	/* holds[] is empty from here on */
	pg_atomic_uint32 moves;		/* odd: units are between places */
	pg_atomic_uint64 holds[SECKILL_PLACES]; /* entry << 32 | xid */
} StockBackend;

typedef struct StockShared
{
	LWLock	   *lock;
	int			first_free;		/* index of an unused entry, or -1 */
	int			hand;			/* where the search for a victim goes on */
} StockShared;

static StockShared *stock = NULL;
static PaddedEntry *entries = NULL;
static StockBackend *backends = NULL;
static HTAB *directory = NULL;

/*
 * My pins, innermost last, with the nest level that set each, and whether it
 * is counted in callers.
 */
static int	npins = 0;
static int	pin_level[PINS_PER_BACKEND];
static bool pin_joined[PINS_PER_BACKEND];

/* The entry I used last: most sessions buy one item. */
static StockEntry *last_entry = NULL;


/*
 * Shared memory
 */

static void
request(void)
{
	HASHCTL		info = {.keysize = sizeof(StockKey),
	.entrysize = sizeof(StockSlot)};

	seckill_shmem_struct("seckill stock", sizeof(StockShared),
						 (void **) &stock);
	seckill_shmem_struct("seckill entries",
						 mul_size(seckill_max_items, sizeof(PaddedEntry)),
						 (void **) &entries);
	seckill_shmem_struct("seckill backends",
						 mul_size(MaxBackends, sizeof(StockBackend)),
						 (void **) &backends);
	seckill_shmem_hash("seckill directory", seckill_max_items, &info,
					   HASH_ELEM | HASH_BLOBS, &directory);
}

static void
init_entry(StockEntry *entry, int index)
{
	memset(entry, 0, sizeof(StockEntry));
	entry->next_free = index + 1 < seckill_max_items ? index + 1 : -1;
	pg_atomic_init_u32(&entry->rules_seq, 0);
	pg_atomic_init_u64(&entry->checked_at, 0);
	pg_atomic_init_u32(&entry->callers, 0);
	SpinLockInit(&entry->mutex);
}

static void
init_backend(StockBackend *backend)
{
	for (int i = 0; i < PINS_PER_BACKEND; i++)
		pg_atomic_init_u32(&backend->pins[i], 0);
	pg_atomic_init_u32(&backend->nholds, 0);
	pg_atomic_init_u32(&backend->moves, 0);
	for (int i = 0; i < SECKILL_PLACES; i++)
		pg_atomic_init_u64(&backend->holds[i], 0);
}

static void
init(void)
{
	stock->lock = seckill_shmem_lock(&seckill_stock_shmem);
	stock->first_free = 0;
	stock->hand = 0;
	for (int i = 0; i < seckill_max_items; i++)
		init_entry(&entries[i].entry, i);
	for (int i = 0; i < MaxBackends; i++)
		init_backend(&backends[i]);
}

const SeckillShmem seckill_stock_shmem = {"seckill_stock", request, init};

/* Is the library preloaded, so that there is a cache at all? */
bool
seckill_stock_ready(void)
{
	return stock != NULL;
}


/*
 * Pins
 */

static inline uint32
entry_number(StockEntry *entry)
{
	return (uint32) ((PaddedEntry *) entry - entries) + 1;
}

static inline StockBackend *
my_backend(void)
{
	return &backends[SeckillMyProcIndex()];
}

static void
pin(StockEntry *entry)
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
	StockEntry *entry = &entries[pg_atomic_read_u32(slot) - 1].entry;

	if (pin_joined[npins])
		pg_atomic_fetch_sub_u32(&entry->callers, 1);
	pg_write_barrier();
	pg_atomic_write_u32(slot, 0);
}

/* Drop the innermost pin, which must be the one on entry; NULL is no pin. */
void
seckill_stock_unpin(StockEntry *entry)
{
	if (entry == NULL)
		return;
	Assert(npins > 0);
	drop_pin();
}

/* Drop the pins that nest level and those inside it left behind. */
void
seckill_stock_unpin_level(int level)
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
seckill_stock_join(StockEntry *entry, int32 max_waiters)
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
is_pinned(StockEntry *entry)
{
	uint32		number = entry_number(entry);

	for (int i = 0; i < MaxBackends; i++)
		for (int j = 0; j < PINS_PER_BACKEND; j++)
			if (pg_atomic_read_u32(&backends[i].pins[j]) == number)
				return true;
	return false;
}


/*
 * Directory
 */

static void
set_key(StockKey *key, Oid items, int64 item_id)
{
	key->dbid = MyDatabaseId;
	key->items = items;
	key->item_id = item_id;
}

static inline bool
has_key(StockEntry *entry, const StockKey *key)
{
	if (!entry->live)
		return false;
	pg_read_barrier();
	return memcmp(&entry->key, key, sizeof(StockKey)) == 0;
}

/* Pin the entry I used last, if it is still the entry of key. */
static bool
pin_last(const StockKey *key)
{
	if (last_entry == NULL || !has_key(last_entry, key))
		return false;
	pin(last_entry);
	SECKILL_CRASH("entry pinned again");
	if (has_key(last_entry, key))
		return true;
	seckill_stock_unpin(last_entry);
	return false;
}

/* NULL must mean "no entry", so a call that cannot pin is an error. */
static void
check_nesting(void)
{
	if (npins >= PINS_PER_BACKEND)
		ereport(ERROR,
				(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
				 errmsg("purchases are nested too deeply"),
				 errdetail("A trigger on seckill.orders that buys can nest %d calls.",
						   PINS_PER_BACKEND)));
}

/* Find and pin an entry; there is room for the pin. */
static StockEntry *
find_entry(const StockKey *key)
{
	StockSlot  *slot;

	if (pin_last(key))
		return last_entry;

	LWLockAcquire(stock->lock, LW_SHARED);
	slot = hash_search(directory, key, HASH_FIND, NULL);
	if (slot != NULL)
	{
		last_entry = &entries[slot->index].entry;
		pin(last_entry);
	}
	LWLockRelease(stock->lock);
	return slot != NULL ? last_entry : NULL;
}

/*
 * Find and pin the entry of an item of a table; NULL if it has none, or if
 * there is no cache.
 */
StockEntry *
seckill_stock_find(Oid items, int64 item_id)
{
	StockKey	key;

	if (stock == NULL)
		return NULL;
	check_nesting();
	set_key(&key, items, item_id);
	return find_entry(&key);
}

/* Like seckill_stock_find(), for a commit callback, which must not raise. */
StockEntry *
seckill_stock_find_in_callback(Oid items, int64 item_id)
{
	StockKey	key;

	if (npins >= PINS_PER_BACKEND)
		return NULL;
	set_key(&key, items, item_id);
	return find_entry(&key);
}

/* Caller holds stock->lock exclusively. */
static void
free_entry(StockEntry *entry)
{
	hash_search(directory, &entry->key, HASH_REMOVE, NULL);
	entry->live = false;
	entry->next_free = stock->first_free;
	stock->first_free = entry_number(entry) - 1;
}

static bool
is_idle(StockEntry *entry)
{
	bool		idle;

	SpinLockAcquire(&entry->mutex);
	idle = counters_idle(&entry->counters) && !entry->refilling;
	SpinLockRelease(&entry->mutex);
	return idle;
}

/*
 * Take the entry away from its item unless it matters to somebody.  Caller
 * holds stock->lock exclusively, so nobody but pin_last() can pin it; that
 * looks at live again after its pin, so one of the two sees the other.  Only
 * then the question whether it is idle has a lasting answer: who was pinned
 * before has left a hold or a role behind, or nothing.
 */
static void
evict(StockEntry *entry)
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
 * Caller holds stock->lock exclusively.  Is there an unused entry now?  Looks
 * at a few only: with a full cache this runs in every call for a new item.
 */
static bool
make_room(void)
{
	int			tries = Min(seckill_max_items, EVICTION_TRIES);

	for (int i = 0; i < tries && stock->first_free < 0; i++)
	{
		evict(&entries[stock->hand].entry);
		stock->hand = (stock->hand + 1) % seckill_max_items;
	}
	return stock->first_free >= 0;
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

/* Caller holds stock->lock exclusively, and there is an unused entry. */
static StockEntry *
use_entry(StockSlot *slot, int64 lease_id)
{
	StockEntry *entry = &entries[stock->first_free].entry;

	slot->index = stock->first_free;
	stock->first_free = entry->next_free;
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
	seckill_stat_forget(seckill_stock_index(entry));
	pg_write_barrier();
	entry->live = true;
	return entry;
}

/*
 * Find or make the entry of an item, and pin it.  NULL when there is no cache,
 * when it is full of entries that matter, or during recovery: a standby must
 * come up with nothing in memory.
 */
StockEntry *
seckill_stock_enter(Oid items, int64 item_id)
{
	StockEntry *entry = seckill_stock_find(items, item_id);
	StockKey	key;
	StockSlot  *slot;
	int64		lease_id;

	if (entry != NULL || stock == NULL || RecoveryInProgress())
		return entry;

	set_key(&key, items, item_id);
	lease_id = new_lease_id();
	LWLockAcquire(stock->lock, LW_EXCLUSIVE);
	slot = hash_search(directory, &key, HASH_FIND, NULL);
	if (slot != NULL)
		entry = &entries[slot->index].entry;
	else if (make_room())
	{
		slot = hash_search(directory, &key, HASH_ENTER_NULL, NULL);
		if (slot != NULL)
			entry = use_entry(slot, lease_id);
	}
	if (entry != NULL)
		pin(entry);
	LWLockRelease(stock->lock);

	last_entry = entry;
	return entry;
}


/*
 * Rules and the sold-out flag
 */

/* Open and close a change of what is read by sequence; under the mutex. */
static inline void
begin_rules(StockEntry *entry)
{
	pg_atomic_write_u32(&entry->rules_seq,
						pg_atomic_read_u32(&entry->rules_seq) + 1);
	pg_write_barrier();
}

static inline void
end_rules(StockEntry *entry)
{
	pg_write_barrier();
	pg_atomic_write_u32(&entry->rules_seq,
						pg_atomic_read_u32(&entry->rules_seq) + 1);
}

/* Under the mutex. */
static void
set_sold_out(StockEntry *entry, bool sold_out)
{
	if (entry->sold_out == sold_out)
		return;
	begin_rules(entry);
	entry->sold_out = sold_out;
	end_rules(entry);
}

/* Under the mutex: units appeared, or the row changed. */
static void
next_generation(StockEntry *entry)
{
	entry->counters.generation++;
	set_sold_out(entry, false);
}

/* Read rules and flag as of one moment. */
void
seckill_stock_glance(StockEntry *entry, StockGlance *glance)
{
	uint32		seq;

	do
	{
		seq = pg_atomic_read_u32(&entry->rules_seq);
		pg_read_barrier();
		glance->known = entry->known;
		glance->sold_out = entry->sold_out;
		glance->rules = entry->rules;
		glance->checked_at =
			(TimestampTz) pg_atomic_read_u64(&entry->checked_at);
		pg_read_barrier();
	} while ((seq & 1) != 0 || pg_atomic_read_u32(&entry->rules_seq) != seq);
}

/* Of all who saw the same old check, let one through to read the row. */
bool
seckill_stock_claim_check(StockEntry *entry, TimestampTz seen, TimestampTz now)
{
	uint64		expected = (uint64) seen;

	return pg_atomic_compare_exchange_u64(&entry->checked_at, &expected,
										  (uint64) now);
}

uint64
seckill_stock_generation(StockEntry *entry)
{
	uint64		generation;

	SpinLockAcquire(&entry->mutex);
	generation = entry->counters.generation;
	SpinLockRelease(&entry->mutex);
	return generation;
}

/*
 * Are there units in the committed row that only a look at the row can sell:
 * stock, or a lease that this memory does not know?
 */
static bool
row_has_units(StockEntry *entry, const ItemRow *row)
{
	return row->stock > 0 || counters_lost(&entry->counters, row);
}

/*
 * Keep the rules of a row that was read after the given generation, unless
 * the generation moved on or the row is our own uncommitted change.  A row
 * with units takes the sold-out flag back.
 */
void
seckill_stock_learn(StockEntry *entry, uint64 generation, const ItemRow *row,
					TimestampTz now)
{
	SpinLockAcquire(&entry->mutex);
	if (entry->counters.generation == generation && !row->mine)
	{
		begin_rules(entry);
		entry->known = true;
		entry->rules = row->rules;
		pg_atomic_write_u64(&entry->checked_at, (uint64) now);
		end_rules(entry);
		if (row_has_units(entry, row))
		{
			entry->dry = false;
			set_sold_out(entry, false);
		}
	}
	SpinLockRelease(&entry->mutex);
}


/*
 * Counters
 */

/* Units anyone may take; only a hint, as no lock is held. */
int32
seckill_stock_avail(StockEntry *entry)
{
	return *(volatile int32 *) &entry->counters.avail;
}

int64
seckill_stock_lease_id(StockEntry *entry)
{
	int64		lease_id;

	SpinLockAcquire(&entry->mutex);
	lease_id = entry->counters.lease_id;
	SpinLockRelease(&entry->mutex);
	return lease_id;
}

/* The counters as of one moment. */
void
seckill_stock_read(StockEntry *entry, StockCounters *counters)
{
	SpinLockAcquire(&entry->mutex);
	*counters = entry->counters;
	SpinLockRelease(&entry->mutex);
}

/* Has the lease nothing on sale and nothing held but own? */
bool
seckill_stock_is_vacant(StockEntry *entry, const StockOwn *own)
{
	bool		vacant;

	SpinLockAcquire(&entry->mutex);
	vacant = counters_vacant(&entry->counters, own);
	SpinLockRelease(&entry->mutex);
	return vacant;
}

/*
 * Take at least min and at most max units, or none.  Below a quarter of a
 * lease, or of ten such calls, the caller is told to think of a refill, unless
 * one is under way or the row is known to be empty.
 */
void
seckill_stock_take(StockEntry *entry, int32 min, int32 max, StockTaken *taken)
{
	SpinLockAcquire(&entry->mutex);
	taken->units = counters_take(&entry->counters, min, max);
	taken->lease_id = entry->counters.lease_id;
	taken->low = !entry->dry && !entry->refilling &&
		entry->counters.avail <
		Max(seckill_lease_units, (int64) taken->units * 10) / 4;
	SpinLockRelease(&entry->mutex);
}

/*
 * Move units of the given lease: add to avail and to held (either may be
 * negative).  Units of another lease are dead and change nothing.
 */
void
seckill_stock_adjust(StockEntry *entry, int64 lease_id, int32 avail,
					 int32 held)
{
	SpinLockAcquire(&entry->mutex);
	if (counters_adjust(&entry->counters, lease_id, avail, held))
		next_generation(entry);
	SpinLockRelease(&entry->mutex);
}

/*
 * Decide for a buyer, see counters_judge(), and set the flag if everybody may
 * be told the same.
 */
StockVerdict
seckill_stock_judge(StockEntry *entry, uint64 generation, const ItemRow *row,
					int32 quantity, const StockOwn *own)
{
	StockVerdict verdict;

	SpinLockAcquire(&entry->mutex);
	verdict = counters_judge(&entry->counters, generation, row, quantity, own);
	if (verdict == STOCK_OUT && counters_all_gone(&entry->counters, row))
		set_sold_out(entry, true);
	SpinLockRelease(&entry->mutex);
	return verdict;
}

/*
 * Under the mutex: forget the lease; its units are nobody's from here on.
 * Counting on from a random start keeps the number as good as unique.
 */
static void
start_lease(StockEntry *entry)
{
	counters_start_lease(&entry->counters);
	entry->dry = false;
	next_generation(entry);
}

/* Start a new lease if the entry still has the given one, found dead. */
void
seckill_stock_renew(StockEntry *entry, int64 lease_id)
{
	SpinLockAcquire(&entry->mutex);
	if (entry->counters.lease_id == lease_id)
		start_lease(entry);
	SpinLockRelease(&entry->mutex);
}

/*
 * Close the lease if no transaction holds any of it, not even the caller's,
 * which might roll back the closing and keep the hold.  Caller has locked the
 * item's row, so no lease can be brought in meanwhile.  What is on the row is
 * from now on a lease that no memory knows, to be settled.
 */
bool
seckill_stock_close(StockEntry *entry)
{
	bool		closed;

	SpinLockAcquire(&entry->mutex);
	closed = entry->counters.held == 0;
	if (closed)
		start_lease(entry);
	SpinLockRelease(&entry->mutex);
	return closed;
}

/*
 * Does the entry count units of a lease that is not on the row?  Caller has
 * locked the row.
 */
bool
seckill_stock_stale(StockEntry *entry, const ItemRow *row)
{
	bool		stale;

	SpinLockAcquire(&entry->mutex);
	stale = counters_stale(&entry->counters, row);
	SpinLockRelease(&entry->mutex);
	return stale;
}

/*
 * Say whether the row has nothing more to lease.  Only of a committed row that
 * the caller has locked: what a transaction leaves of it may be undone, and
 * nobody would be told.
 */
void
seckill_stock_set_dry(StockEntry *entry, bool dry)
{
	SpinLockAcquire(&entry->mutex);
	entry->dry = dry;
	SpinLockRelease(&entry->mutex);
}


/* Remember that a refill is under way, so that nobody tops up meanwhile. */
void
seckill_stock_set_refilling(StockEntry *entry, bool refilling)
{
	SpinLockAcquire(&entry->mutex);
	entry->refilling = refilling;
	SpinLockRelease(&entry->mutex);
}

/* Has a transaction the role?  It may just be taking it or leaving it. */
bool
seckill_stock_is_refilling(StockEntry *entry)
{
	return *(volatile bool *) &entry->refilling;
}


/*
 * Heat: what mode auto goes by
 */

/*
 * A window is over: does what happened in it keep the item hot?  It may have
 * been a long one: calls that wait for each other are few.
 */
static void
close_window(StockEntry *entry, ClockTime now)
{
	int64		length = Max(now - entry->window, HEAT_WINDOW);

	if ((int64) entry->calls * HEAT_WINDOW / length < seckill_hot_rate / 2 &&
		entry->conflicts < HOT_CONFLICTS / 2)
		entry->hot = false;
}

/*
 * Note calls of mode auto; is the item hot?  It gets hot as soon as a window
 * has seen seckill.hot_rate calls or HOT_CONFLICTS lost races, and cools when
 * one has seen less than half of either.  Units prewarmed make it hot.
 */
bool
seckill_stock_heat(StockEntry *entry, int32 calls)
{
	ClockTime	now = seckill_clock();
	bool		hot;

	SpinLockAcquire(&entry->mutex);
	if (now >= entry->window + HEAT_WINDOW)
	{
		if (entry->window != 0)
			close_window(entry, now);
		entry->window = now;
		entry->calls = entry->conflicts = 0;
	}
	entry->calls += calls;
	if (entry->calls >= seckill_hot_rate)
		entry->hot = true;
	hot = entry->hot;
	SpinLockRelease(&entry->mutex);
	return hot;
}

/* A buyer lost a race for the row. */
void
seckill_stock_note_conflict(StockEntry *entry)
{
	SpinLockAcquire(&entry->mutex);
	if (++entry->conflicts >= HOT_CONFLICTS)
		entry->hot = true;
	SpinLockRelease(&entry->mutex);
}

/* The item is about to get hot. */
void
seckill_stock_preheat(StockEntry *entry)
{
	SpinLockAcquire(&entry->mutex);
	entry->hot = true;
	entry->window = 0;
	SpinLockRelease(&entry->mutex);
}


/*
 * Holders
 */

/* Show in one of my places that xid holds units of entry. */
void
seckill_stock_publish_holder(int place, StockEntry *entry, TransactionId xid)
{
	StockBackend *me = my_backend();

	pg_atomic_write_u64(&me->holds[place],
						((uint64) entry_number(entry) << 32) | xid);
	if (pg_atomic_read_u32(&me->nholds) <= (uint32) place)
		pg_atomic_write_u32(&me->nholds, place + 1);
}

void
seckill_stock_withdraw_holder(int place)
{
	StockBackend *me = my_backend();

	pg_atomic_write_u64(&me->holds[place], 0);
	if (pg_atomic_read_u32(&me->nholds) == (uint32) place + 1)
		pg_atomic_write_u32(&me->nholds, place);
}

/*
 * Units are going to move between places of mine: who looks meanwhile might
 * see them in neither.
 */
void
seckill_stock_begin_move(void)
{
	StockBackend *me = my_backend();

	pg_atomic_write_u32(&me->moves, pg_atomic_read_u32(&me->moves) + 1);
	pg_write_barrier();
}

void
seckill_stock_end_move(void)
{
	StockBackend *me = my_backend();

	pg_write_barrier();
	pg_atomic_write_u32(&me->moves, pg_atomic_read_u32(&me->moves) + 1);
}

/* The first place of a backend that shows the entry, or -1. */
static int
find_place(StockBackend *backend, StockEntry *entry)
{
	uint32		number = entry_number(entry);
	int			n = pg_atomic_read_u32(&backend->nholds);

	for (int j = 0; j < n; j++)
		if ((uint32) (pg_atomic_read_u64(&backend->holds[j]) >> 32) == number)
			return j;
	return -1;
}

/* A place of another backend that shows the entry; false if none does. */
bool
seckill_stock_other_holder(StockEntry *entry, StockHolder *holder)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		int			place;

		if (i == SeckillMyProcIndex())
			continue;
		place = find_place(&backends[i], entry);
		if (place < 0)
			continue;
		holder->place = &backends[i].holds[place];
		holder->shown = pg_atomic_read_u64(holder->place);
		if ((uint32) (holder->shown >> 32) == entry_number(entry))
			return true;
	}
	return false;
}

/*
 * The caller has waited for the transaction of a holder, so its callbacks have
 * run.  A place that still shows it shows nobody: clear it.
 */
void
seckill_stock_forget_holder(StockHolder *holder)
{
	(void) pg_atomic_compare_exchange_u64(holder->place, &holder->shown, 0);
}

/* Might another backend hold units of the entry?  Under the mutex. */
static bool
has_other_holder(StockEntry *entry)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		StockBackend *backend = &backends[i];
		uint32		moves = pg_atomic_read_u32(&backend->moves);

		if (i == SeckillMyProcIndex())
			continue;
		pg_read_barrier();
		if (find_place(backend, entry) >= 0)
			return true;
		pg_read_barrier();
		if ((moves & 1) != 0 || pg_atomic_read_u32(&backend->moves) != moves)
			return true;
	}
	return false;
}

/* Are units of the entry on hold that nobody has?  Under the mutex. */
static bool
has_lost_units(StockEntry *entry, const StockOwn *own)
{
	return entry->counters.lease_id == own->lease_id &&
		entry->counters.held > own->held && !has_other_holder(entry);
}

/* The same for the caller's own transaction having own. */
bool
seckill_stock_has_lost(StockEntry *entry, const StockOwn *own)
{
	bool		lost;

	SpinLockAcquire(&entry->mutex);
	lost = has_lost_units(entry, own);
	SpinLockRelease(&entry->mutex);
	return lost;
}

/*
 * Start a new lease if units of this one are on hold that nobody has; returns
 * how many, 0 if there are none.  The caller has so many units itself, sold
 * none, and has locked the item's row, so nobody has sold units of the lease
 * and not committed.
 */
int32
seckill_stock_drop_lost(StockEntry *entry, int32 own_units)
{
	int32		units = 0;
	StockOwn	own = {.held = own_units};

	SpinLockAcquire(&entry->mutex);
	own.lease_id = entry->counters.lease_id;
	if (has_lost_units(entry, &own))
	{
		units = entry->counters.held - own_units;
		start_lease(entry);
	}
	SpinLockRelease(&entry->mutex);
	return units;
}


/*
 * Changes of the tables, at commit
 */

static void
forget_rules(StockEntry *entry)
{
	SpinLockAcquire(&entry->mutex);
	begin_rules(entry);
	entry->known = false;
	entry->dry = false;
	end_rules(entry);
	next_generation(entry);
	SpinLockRelease(&entry->mutex);
}

/* The row of an item changed.  Raises nothing: runs in a commit callback. */
void
seckill_stock_changed(Oid items, int64 item_id)
{
	StockKey	key = {MyDatabaseId, items, item_id};
	StockSlot  *slot;

	LWLockAcquire(stock->lock, LW_SHARED);
	slot = hash_search(directory, &key, HASH_FIND, NULL);
	if (slot != NULL)
		forget_rules(&entries[slot->index].entry);
	LWLockRelease(stock->lock);
}

/* Any row of this database's items may have changed. */
void
seckill_stock_changed_all(Oid items)
{
	LWLockAcquire(stock->lock, LW_SHARED);
	for (int i = 0; i < seckill_max_items; i++)
	{
		StockEntry *entry = &entries[i].entry;

		if (entry->live && entry->key.dbid == MyDatabaseId &&
			entry->key.items == items)
			forget_rules(entry);
	}
	LWLockRelease(stock->lock);
}

/*
 * Forget the units of entries whose table is gone, so that they can be
 * evicted.  Whoever is still at one of them meets the fence.
 */
static void
drop_entries(Oid dbid, Oid items)
{
	LWLockAcquire(stock->lock, LW_EXCLUSIVE);
	for (int i = 0; i < seckill_max_items; i++)
	{
		StockEntry *entry = &entries[i].entry;

		if (!entry->live || entry->key.dbid != dbid ||
			(OidIsValid(items) && entry->key.items != items))
			continue;
		SpinLockAcquire(&entry->mutex);
		start_lease(entry);
		SpinLockRelease(&entry->mutex);
		evict(entry);
	}
	LWLockRelease(stock->lock);
}

/* Is there an entry of this table?  Its table is being dropped. */
bool
seckill_stock_has_table(Oid items)
{
	bool		found = false;

	LWLockAcquire(stock->lock, LW_SHARED);
	for (int i = 0; i < seckill_max_items && !found; i++)
		found = entries[i].entry.live &&
			entries[i].entry.key.dbid == MyDatabaseId &&
			entries[i].entry.key.items == items;
	LWLockRelease(stock->lock);
	return found;
}

void
seckill_stock_drop_table(Oid items)
{
	drop_entries(MyDatabaseId, items);
}

void
seckill_stock_drop_database(Oid dbid)
{
	drop_entries(dbid, InvalidOid);
}


/*
 * Looking at it
 */

/* Is it an entry of this table of my database? */
static bool
is_mine(const StockEntry *entry, Oid items)
{
	return entry->live && entry->key.dbid == MyDatabaseId &&
		entry->key.items == items;
}

/* Copy what the entries of this database's items say into *lines. */
int
seckill_stock_list(Oid items, StockLine **lines)
{
	int			n = 0;

	*lines = NULL;
	if (stock == NULL)
		return 0;
	*lines = palloc_extended(mul_size(seckill_max_items, sizeof(StockLine)),
							 MCXT_ALLOC_HUGE);
	LWLockAcquire(stock->lock, LW_SHARED);
	for (int i = 0; i < seckill_max_items; i++)
	{
		StockEntry *entry = &entries[i].entry;
		StockLine  *line = &(*lines)[n];

		if (!is_mine(entry, items))
			continue;
		SpinLockAcquire(&entry->mutex);
		line->item_id = entry->key.item_id;
		line->lease_id = entry->counters.lease_id;
		line->avail = entry->counters.avail;
		line->held = entry->counters.held;
		line->sold_out = entry->sold_out;
		line->hot = entry->hot;
		SpinLockRelease(&entry->mutex);
		n++;
	}
	LWLockRelease(stock->lock);
	return n;
}

/* The number of an entry among all, from 0; -1 for NULL. */
int
seckill_stock_index(const StockEntry *entry)
{
	return entry == NULL ? -1 :
		(int) ((const PaddedEntry *) entry - entries);
}

/*
 * Pin the next entry of a table, from place *next on; NULL if there are no
 * more.
 */
StockEntry *
seckill_stock_next(Oid items, int *next, int64 *item_id)
{
	StockEntry *entry = NULL;

	if (stock == NULL)
		return NULL;
	check_nesting();
	while (entry == NULL && *next < seckill_max_items)
	{
		StockEntry *candidate = &entries[(*next)++].entry;

		if (!is_mine(candidate, items))
			continue;
		LWLockAcquire(stock->lock, LW_SHARED);
		if (is_mine(candidate, items))
		{
			entry = candidate;
			*item_id = entry->key.item_id;
			pin(entry);
		}
		LWLockRelease(stock->lock);
	}
	return entry;
}
