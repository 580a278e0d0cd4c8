/*
 * claims.c
 *		Users and requests that a batch of the queue claims instead of locking
 *		them one by one.
 *
 * A heavyweight lock costs a process more than a microsecond, and a batch
 * would take two for each purchase, mostly with nobody to guard against.  So
 * whoever locks a user or a request is counted here first, and a batch whose
 * worker finds nobody counted only writes down whose turn it is: it sets a bit
 * for the hash of each.  It holds one lock, that of the batch
 * (xact/hash_lock.c).
 *
 * Each side first says what it does and then looks at the other, with a full
 * memory barrier between the two.  So of a batch and a locker that meet, at
 * least one sees the other: the batch takes the locks one by one, or the
 * locker, whose hash has its bit set, waits for the lock of the batch.  A batch
 * that begins after that sees the locker counted.
 *
 * Two hashes may share a bit; then a stranger waits for the end of the batch,
 * as with two hashes that share a lock.  A batch with so many purchases that
 * this would be frequent is refused.
 *
 * There is one set of bits, for one worker at a time.  Where several databases
 * have queues, the workers of the others lock as before; a bit of another
 * database's batch costs a look at a lock that nobody has.
 *
 * Who may change what:
 *
 * - lockers: everybody, by atomic additions
 * - owner: the worker that finds it 0, by compare-and-swap, and sets it to 0
 * - bits: the owner, while it is that
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"

#include "base/shmem.h"
#include "shmem/claims.h"

#define CLAIM_WORDS		512
#define CLAIM_BITS		(CLAIM_WORDS * 32)

/* With as many claims, one stranger of eight would meet a bit. */
#define MAX_CLAIMS		(CLAIM_BITS / 8)

typedef struct Claims
{
	pg_atomic_uint32 lockers;
	pg_atomic_uint32 owner;		/* process ID of the worker, or 0 */
	char		pad[PG_CACHE_LINE_SIZE - 2 * sizeof(pg_atomic_uint32)];
	pg_atomic_uint32 bits[CLAIM_WORDS];
} Claims;

static Claims *claims = NULL;

/* What the owner has claimed so far. */
static int	nclaims = 0;

static void
request(void)
{
	seckill_shmem_struct("seckill claims", sizeof(Claims), (void **) &claims);
}

static void
init(void)
{
	pg_atomic_init_u32(&claims->lockers, 0);
	pg_atomic_init_u32(&claims->owner, 0);
	for (int i = 0; i < CLAIM_WORDS; i++)
		pg_atomic_init_u32(&claims->bits[i], 0);
}

const SeckillShmem seckill_claims_shmem = {.request = request, .init = init};

static pg_atomic_uint32 *
word_of(uint64 hash)
{
	return &claims->bits[hash % CLAIM_BITS / 32];
}

static uint32
bit_of(uint64 hash)
{
	return (uint32) 1 << (hash % 32);
}


/*
 * Those who lock
 */

/*
 * This process is about to lock users or requests, until it leaves.  Returns
 * false if there is no shared memory, and so no batch.
 */
bool
seckill_claims_enter(void)
{
	if (claims == NULL)
		return false;
	pg_atomic_fetch_add_u32(&claims->lockers, 1);	/* a full barrier */
	return true;
}

/*
 * The transaction has ended, and others see what it has done.  Raises nothing.
 */
void
seckill_claims_leave(void)
{
	pg_atomic_fetch_sub_u32(&claims->lockers, 1);
}

/*
 * May a batch have claimed the hash before we have entered?  If not, whatever
 * an earlier batch has done is seen by a snapshot that is taken from now on.
 */
bool
seckill_claims_has(uint64 hash)
{
	bool		has = (pg_atomic_read_u32(word_of(hash)) & bit_of(hash)) != 0;

	pg_memory_barrier();
	return has;
}


/*
 * A batch
 */

/*
 * Make this process the one that may claim; false if another one is that, or
 * there is somebody to guard against, so that claims would not be granted.
 */
bool
seckill_claims_open(void)
{
	uint32		nobody = 0;

	if (claims == NULL || pg_atomic_read_u32(&claims->lockers) > 0)
		return false;
	return pg_atomic_read_u32(&claims->owner) == (uint32) MyProcPid ||
		pg_atomic_compare_exchange_u32(&claims->owner, &nobody, (uint32) MyProcPid);
}

/*
 * Claim hashes, after seckill_claims_open(), with the lock of the batch held.
 * Returns false if they must be locked instead.  What was marked for them stays
 * marked until the end, as it may belong to what was claimed before.
 */
bool
seckill_claims_make(const uint64 *hashes, int n)
{
	if (n > MAX_CLAIMS - nclaims)
		return false;
	nclaims += n;
	for (int i = 0; i < n; i++)
	{
		pg_atomic_uint32 *word = word_of(hashes[i]);

		pg_atomic_write_u32(word, pg_atomic_read_u32(word) | bit_of(hashes[i]));
	}
	pg_memory_barrier();
	return pg_atomic_read_u32(&claims->lockers) == 0;
}

/*
 * The transaction of the owner has ended, and others see what it has done.
 * Raises nothing.
 */
void
seckill_claims_close(void)
{
	pg_memory_barrier();
	for (int i = 0; i < CLAIM_WORDS && nclaims > 0; i++)
		pg_atomic_write_u32(&claims->bits[i], 0);
	nclaims = 0;
	pg_memory_barrier();
	pg_atomic_write_u32(&claims->owner, 0);
}
