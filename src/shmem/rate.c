/*
 * rate.c
 *		Rate limits: a token bucket for each user.
 *
 * A bucket holds up to burst calls and is refilled at the rate.  It is stored
 * as one number, by the generic cell rate algorithm (ITU-T I.371): the
 * theoretical arrival time, at which the bucket will be full again.  A call is
 * admitted if its share, 1/rate, can be added and the bucket is full again
 * within burst/rate from now.  A call that is refused adds nothing.
 *
 * Buckets are in a table of fixed size in shared memory.  The table consists
 * of sets of a few buckets, each with a spinlock; a hash of the bucket's key
 * chooses the set.  Only the hash of the key is stored.  Two keys do not have
 * the same 64 bits by chance, and a random seed keeps users from constructing
 * them.  A new bucket replaces the one of its set that will be full first.  If
 * that one is full already, nothing is lost, because a bucket that is not in
 * the table is full.  If not, a user starts with a full bucket: a table that
 * is too small limits less, and never refuses a call wrongly.
 *
 * An item with a rate or burst of its own has its own buckets, by (item,
 * user).  All other items of a database share buckets by user.
 *
 * No process waits here but for the spinlock of a set.  Without
 * shared_preload_libraries there is no table and no limit.
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/spin.h"

#include "base/clock.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "seckill.h"
#include "shmem/rate.h"

/*
 * Buckets of a set: with the spinlock they fill two cache lines of 64 bytes.
 */
#define WAYS		7

/* Longer than any session takes from reading the clock to the spinlock. */
#define CLOCK_SLACK	USECS_PER_SEC

/*
 * Limits of the share of a call and of a whole bucket: sums do not overflow.
 */
#define LONGEST_SHARE	(1000.0 * DAYS_PER_YEAR * USECS_PER_DAY)
#define LONGEST_WHOLE	((double) (INT64CONST(1) << 61))

/* The key of a bucket. */
typedef struct RateKey
{
	Oid			dbid;
	uint32		own;			/* does the item have buckets of its own? */
	int64		item_id;		/* if so; else 0 */
	int64		user_id;
} RateKey;

typedef struct RateBucket
{
	uint64		hash;			/* of the key */
	ClockTime	full_at;		/* if past, the bucket is full; 0: not in use */
} RateBucket;

typedef struct RateSet
{
	RateBucket	buckets[WAYS];
	slock_t		mutex;
} RateSet;

typedef union PaddedSet
{
	RateSet		set;
	char		pad[TYPEALIGN(64, sizeof(RateSet))];
} PaddedSet;

typedef struct RateShared
{
	uint64		seed;			/* of the hash */
	char		pad[PG_CACHE_LINE_SIZE - sizeof(uint64)];
	PaddedSet	sets[FLEXIBLE_ARRAY_MEMBER];
} RateShared;

static RateShared *shared = NULL;


/*
 * Shared memory
 */

static uint32
number_of_sets(void)
{
	return (seckill_max_users + WAYS - 1) / WAYS;
}

static Size
table_size(void)
{
	return add_size(offsetof(RateShared, sets),
					mul_size(number_of_sets(), sizeof(PaddedSet)));
}

static void
request(void)
{
	seckill_shmem_struct("seckill rates", table_size(), (void **) &shared);
}

static void
init(void)
{
	memset(shared, 0, table_size());
	if (!pg_strong_random(&shared->seed, sizeof(shared->seed)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random seed")));
	for (uint32 i = 0; i < number_of_sets(); i++)
		SpinLockInit(&shared->sets[i].set.mutex);
}

const SeckillShmem seckill_rate_shmem = {
	.tranche = NULL,
	.request = request,
	.init = init
};


/*
 * Buckets
 */

/* Return the rate that applies to the purchase; 0: none. */
static inline double
rate_of(const Purchase *p)
{
	return p->rules.user_rate >= 0 ? p->rules.user_rate : seckill_user_rate;
}

/* Return the burst that applies to the purchase. */
static inline int32
burst_of(const Purchase *p)
{
	return p->rules.user_burst > 0 ? p->rules.user_burst : seckill_user_burst;
}

/* Return the hash of the key of the purchase's bucket. */
static uint64
hash_key(const Purchase *p)
{
	RateKey		key = {.dbid = MyDatabaseId,.user_id = p->user_id};

	key.own = p->rules.user_rate >= 0 || p->rules.user_burst > 0;
	if (key.own)
		key.item_id = p->item_id;
	return hash_bytes_extended((unsigned char *) &key, sizeof(key),
							   shared->seed);
}

/*
 * Return the bucket of the hash.  If the set has none, replace the one that
 * will be full first with a full bucket.  Under the spinlock.
 */
static RateBucket *
find_bucket(RateSet *set, uint64 hash)
{
	RateBucket *first = &set->buckets[0];

	for (int i = 0; i < WAYS; i++)
	{
		RateBucket *bucket = &set->buckets[i];

		if (bucket->hash == hash)
			return bucket;
		if (bucket->full_at < first->full_at)
			first = bucket;
	}
	first->hash = hash;
	first->full_at = 0;
	return first;
}

/*
 * Take a call from the bucket; false if there is none.  Under the spinlock.
 *
 * If the bucket is to be full later than an empty one would be, it was filled
 * at another rate: it counts as empty.
 */
static bool
take(RateBucket *bucket, int64 share, int64 whole, ClockTime now)
{
	if (bucket->full_at > now + whole + CLOCK_SLACK)
		bucket->full_at = now + whole;
	if (Max(bucket->full_at, now) + share > now + whole)
		return false;
	bucket->full_at = Max(bucket->full_at, now) + share;
	return true;
}


/* Is there a rate limit for the purchase? */
bool
seckill_rate_applies(const Purchase *p)
{
	return shared != NULL && rate_of(p) > 0;
}

/*
 * Count a call to which a rate limit applies; false if it exceeds the limit.
 * Does not raise.
 */
bool
seckill_rate_admits(const Purchase *p)
{
	uint64		hash = hash_key(p);
	double		share = rint(USECS_PER_SEC / rate_of(p));
	double		whole;
	RateSet    *set;
	ClockTime	now = seckill_clock();
	bool		admitted;

	share = Min(Max(share, 1), LONGEST_SHARE);
	whole = Min(share * burst_of(p), LONGEST_WHOLE);
	set = &shared->sets[((hash >> 32) * number_of_sets()) >> 32].set;
	SpinLockAcquire(&set->mutex);
	admitted = take(find_bucket(set, hash), (int64) share, (int64) whole,
					now);
	SpinLockRelease(&set->mutex);
	return admitted;
}
