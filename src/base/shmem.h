/*
 * shmem.h
 *		Shared memory of the extension: a descriptor for each file that has
 *		areas there.
 */
#ifndef SECKILL_SHMEM_H
#define SECKILL_SHMEM_H

#include "storage/lwlock.h"
#include "utils/hsearch.h"

/* The shared memory of one file, and how it is initialized. */
typedef struct SeckillShmem
{
	const char *tranche;		/* name of its LWLocks, or NULL */

	/* requests areas by seckill_shmem_struct() and seckill_shmem_hash() */
	void		(*request) (void);

	/* initializes them, once, in the postmaster, before any use */
	void		(*init) (void);

	int			nlocks;			/* LWLocks of the tranche; 0: one */
} SeckillShmem;

extern void seckill_shmem_register(const SeckillShmem *shmem);
extern void seckill_shmem_struct(const char *name, Size size, void **ptr);
extern void seckill_shmem_hash(const char *name, int64 max_entries, HASHCTL *info, int flags, HTAB **ptr);
extern LWLock *seckill_shmem_lock(const SeckillShmem *shmem);
extern LWLock *seckill_shmem_lock_number(const SeckillShmem *shmem, int i);

#endif							/* SECKILL_SHMEM_H */
