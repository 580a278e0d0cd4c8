/*
 * hash_lock.c
 *		Locks on users and requests, by their hashes.
 *
 * Two keys of one hash share a lock, which costs a wait and does no other harm.
 *
 * A batch of the queue, which waits for none of these locks, claims all its
 * hashes at once instead if nobody else has such a lock (shmem/claims.c).  It
 * holds the lock of the batch then, and who wants one of the hashes waits for
 * that.  Nobody asks for a hash while holding a share in the lock of the batch,
 * and the batch tries to get it without waiting, so no new circle can close:
 * a wait for the batch is what a wait for one of its locks would be.
 *
 * COMMIT PREPARED has no callback.  Where transactions can be prepared, nobody
 * could count those that have a lock, and every hash is locked.
 */
#include "postgres.h"

#include "access/twophase.h"

#include "shmem/claims.h"
#include "xact/hash_lock.h"
#include "xact/lock.h"

/* Is this transaction counted as one that locks?  Does it own the claims? */
static bool entered = false;
static bool opened = false;

/* Wait for the end of the batch that may have claimed the hash. */
static void
await_batch(void)
{
	LOCKTAG		tag;

	seckill_lock_tag(&tag, 0, SECKILL_LOCK_BATCH);
	(void) seckill_lock_acquire(&tag, ShareLock, true);
	seckill_lock_release(&tag, ShareLock);
}

/*
 * Lock a hash in exclusive mode until the end of the transaction.  Returns
 * false if another transaction has the lock and may_wait is false; then the
 * caller is the one that claims.
 */
bool
seckill_hash_lock(uint64 hash, uint16 class, bool may_wait)
{
	LOCKTAG		tag;

	if (!entered)
		entered = seckill_claims_enter();
	seckill_lock_tag(&tag, (int64) hash, class);
	if (!seckill_lock_acquire(&tag, ExclusiveLock, may_wait))
		return false;
	if (entered && seckill_claims_has(hash))
		await_batch();
	return true;
}

/*
 * Claim hashes until the end of the transaction; for the queue worker only.
 * Returns false if they must be locked one by one.
 */
bool
seckill_hash_lock_claim(const uint64 *hashes, int n)
{
	LOCKTAG		tag;

	if (entered || max_prepared_xacts > 0 || !seckill_claims_open())
		return false;
	opened = true;
	seckill_lock_tag(&tag, 0, SECKILL_LOCK_BATCH);
	return seckill_lock_acquire(&tag, ExclusiveLock, false) &&
		seckill_claims_make(hashes, n);
}

/*
 * The transaction has ended or is prepared: what it has done is visible, and
 * its locks are not released yet.  Raises nothing.
 */
void
seckill_hash_lock_end(void)
{
	if (opened)
		seckill_claims_close();
	opened = false;
	if (entered)
		seckill_claims_leave();
	entered = false;
}
