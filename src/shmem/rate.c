/*
 * rate.c
 *		How often a user may call: a token bucket for each.
 *
 * A bucket holds up to burst calls and gets new ones at the rate.  It is kept
 * as one number, by the generic cell rate algorithm (ITU-T I.371): the
 * theoretical arrival time, at which the bucket will be full again.  A call
 * passes if its share, 1/rate, can be added and the bucket is full again
 * within burst/rate from now.  A call that is refused adds nothing.
 *
 * Buckets are in a table of fixed size in shared memory: sets of a few, each
 * with a spinlock, the set chosen by a hash of the bucket's key.  The hash is
 * all that is kept of the key; that two keys of 64 bits are the same does not
 * happen by chance, and a seed keeps it from being made to happen.  A new
 * bucket takes the place of the one of its set that is the first to be full.
 * If that is full already, nothing is lost: a bucket that is not there is
 * full.  If not, a user gets a fresh start: a table that is too small limits
 * less, and refuses nobody wrongly.
 *
 * An item with a rate or burst of its own has buckets of its own, by (item,
 * user); all others of a database share those by user.
 *
 * Without shared_preload_libraries there is no table and no limit.
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

/* So many, with their lock, fill two cache lines of 64 bytes. */
#define WAYS		7

/* A session that has read the clock is held up for less. */
#define CLOCK_SLACK	USECS_PER_SEC

/* The longest a call and a bucket can take: so sums of times do not overflow. */
#define LONGEST_SHARE	(1000.0 * DAYS_PER_YEAR * USECS_PER_DAY)
#define LONGEST_WHOLE	((double) (INT64CONST(1) << 61))

typedef struct RateKey
{
	Oid			dbid;
	uint32		own;			/* is the bucket of this item alone? */
	int64		item_id;		/* 0 if not */
	int64		user_id;
} RateKey;

typedef struct RateBucket
{
	uint64		hash;			/* of the key */
	ClockTime	full_at;		/* 0: not in use, or as good as that */
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

const SeckillShmem seckill_rate_shmem = {NULL, request, init};


/*
 * Buckets
 */

/* The rate that counts for the purchase; 0: none. */
static inline double
rate_of(const Purchase *p)
{
	return p->rules.user_rate >= 0 ? p->rules.user_rate : seckill_user_rate;
}

static inline int32
burst_of(const Purchase *p)
{
	return p->rules.user_burst > 0 ? p->rules.user_burst : seckill_user_burst;
}

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

/* Under the mutex: the bucket of the hash, full if it was not there. */
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
 * Under the mutex: take a call from the bucket, if there is one.  A bucket
 * that is to be full later than an empty one ever is has seen another rate: it
 * is empty, no worse.
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


/* Is there a rate that the purchase must keep to? */
bool
seckill_rate_applies(const Purchase *p)
{
	return shared != NULL && rate_of(p) > 0;
}

/* Count a call for which there is a rate; false if it is one too many. */
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
