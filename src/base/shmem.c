/*
 * shmem.c
 *		Shared memory of the extension: requests, allocates and initializes the
 *		areas that descriptors ask for.
 *
 * A file describes its shared memory with a SeckillShmem, which _PG_init()
 * registers.  PostgreSQL 19 and later have descriptors of this form.  Earlier
 * versions request an area in one hook and allocate it in another; there the
 * descriptor's request() runs twice, first to add up the sizes, then to set
 * the pointers.
 *
 * Every area begins at a cache line.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "base/compat.h"
#include "base/shmem.h"

#define MAX_DESCRIPTORS	16

static const SeckillShmem *descriptors[MAX_DESCRIPTORS];
static int	ndescriptors = 0;

static shmem_request_hook_type prev_shmem_request = NULL;


/* Request the LWLocks of all descriptors; for shmem_request_hook only. */
static void
request_locks(void)
{
	for (int i = 0; i < ndescriptors; i++)
		if (descriptors[i]->tranche != NULL)
			RequestNamedLWLockTranche(descriptors[i]->tranche,
									  Max(descriptors[i]->nlocks, 1));
}

/* Return LWLock i of a descriptor; for its init(). */
LWLock *
seckill_shmem_lock_number(const SeckillShmem *shmem, int i)
{
	return &GetNamedLWLockTranche(shmem->tranche)[i].lock;
}

/* Return the LWLock of a descriptor; for its init(). */
LWLock *
seckill_shmem_lock(const SeckillShmem *shmem)
{
	return seckill_shmem_lock_number(shmem, 0);
}

/* PostgreSQL 19 and later */
#ifdef SECKILL_HAS_SHMEM_CALLBACKS

/* What each descriptor looks like to the server. */
static ShmemCallbacks callbacks[MAX_DESCRIPTORS];

static void
on_shmem_request(void)
{
	if (prev_shmem_request)
		prev_shmem_request();
	request_locks();
}

static void
request(void *shmem)
{
	((const SeckillShmem *) shmem)->request();
}

static void
init(void *shmem)
{
	((const SeckillShmem *) shmem)->init();
}

/* Ask for an area; *ptr points to it from init() on.  For request() only. */
void
seckill_shmem_struct(const char *name, Size size, void **ptr)
{
	ShmemRequestStruct(.name = name,.size = size,
					   .alignment = PG_CACHE_LINE_SIZE,.ptr = ptr);
}

/* Ask for a hash table of fixed size, as seckill_shmem_struct() does. */
void
seckill_shmem_hash(const char *name, int64 max_entries, HASHCTL *info,
				   int flags, HTAB **ptr)
{
	ShmemRequestHash(.name = name,.nelems = max_entries,.hash_info = *info,
					 .hash_flags = flags | HASH_FIXED_SIZE,.ptr = ptr);
}

static void
add_callbacks(const SeckillShmem *shmem)
{
	ShmemCallbacks *c = &callbacks[ndescriptors];

	c->request_fn = request;
	c->init_fn = init;
	c->opaque_arg = (void *) shmem;
	RegisterShmemCallbacks(c);
}

/* earlier versions */
#else

static shmem_startup_hook_type prev_shmem_startup = NULL;

static bool allocating = false; /* false: request() adds sizes up */
static bool found_all;			/* all areas of the descriptor existed */

static void
on_shmem_request(void)
{
	if (prev_shmem_request)
		prev_shmem_request();
	request_locks();
	allocating = false;
	for (int i = 0; i < ndescriptors; i++)
		descriptors[i]->request();
}

static void
on_shmem_startup(void)
{
	if (prev_shmem_startup)
		prev_shmem_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	allocating = true;
	for (int i = 0; i < ndescriptors; i++)
	{
		found_all = true;
		descriptors[i]->request();
		if (!found_all)
			descriptors[i]->init();
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Ask for an area; *ptr points to it from init() on.  For request() only. */
void
seckill_shmem_struct(const char *name, Size size, void **ptr)
{
	Size		padded = add_size(size, PG_CACHE_LINE_SIZE);
	bool		found;

	if (!allocating)
	{
		RequestAddinShmemSpace(padded);
		return;
	}
	*ptr = (void *) TYPEALIGN(PG_CACHE_LINE_SIZE,
							  ShmemInitStruct(name, padded, &found));
	found_all &= found;
}

/* Ask for a hash table of fixed size, as seckill_shmem_struct() does. */
void
seckill_shmem_hash(const char *name, int64 max_entries, HASHCTL *info,
				   int flags, HTAB **ptr)
{
	if (!allocating)
		RequestAddinShmemSpace(hash_estimate_size(max_entries,
												  info->entrysize));
	else
		*ptr = ShmemInitHash(name, max_entries, max_entries, info,
							 flags | HASH_FIXED_SIZE);
}

static void
add_callbacks(const SeckillShmem *shmem)
{
	if (ndescriptors > 0)
		return;
	prev_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = on_shmem_startup;
}

#endif

/* Register a descriptor; for _PG_init() while the library is preloaded. */
void
seckill_shmem_register(const SeckillShmem *shmem)
{
	if (ndescriptors >= MAX_DESCRIPTORS)
		elog(ERROR, "too many descriptors of shared memory");
	if (ndescriptors == 0)
	{
		prev_shmem_request = shmem_request_hook;
		shmem_request_hook = on_shmem_request;
	}
	add_callbacks(shmem);
	descriptors[ndescriptors++] = shmem;
}
