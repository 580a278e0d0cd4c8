/*
 * shmem.h
 *		Shared memory of the extension: one descriptor for each file that has
 *		some.
 */
#ifndef SECKILL_SHMEM_H
#define SECKILL_SHMEM_H

#include "storage/lwlock.h"
#include "utils/hsearch.h"

/* What a file needs of shared memory, and how it is filled. */
typedef struct SeckillShmem
{
	const char *tranche;		/* name of its LWLock; NULL: it has none */

	/* ask for areas with seckill_shmem_struct() and seckill_shmem_hash() */
	void		(*request) (void);

	/*
	 * fill the areas; called once, in the postmaster, before anybody uses
	 * them
	 */
	void		(*init) (void);
} SeckillShmem;

extern void seckill_shmem_register(const SeckillShmem *shmem);
extern void seckill_shmem_struct(const char *name, Size size, void **ptr);
extern void seckill_shmem_hash(const char *name, int64 max_entries, HASHCTL *info, int flags, HTAB **ptr);
extern LWLock *seckill_shmem_lock(const SeckillShmem *shmem);

#endif							/* SECKILL_SHMEM_H */
