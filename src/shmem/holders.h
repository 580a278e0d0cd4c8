/*
 * holders.h
 *		Holders: which transactions hold units of a cache entry.
 */
#ifndef SECKILL_SHMEM_HOLDERS_H
#define SECKILL_SHMEM_HOLDERS_H

#include "access/transam.h"
#include "port/atomics.h"

#include "seckill.h"
#include "shmem/counters.h"

/* A holder that was found. */
typedef struct Holder
{
	pg_atomic_uint64 *slot;		/* where it is shown */
	uint64		shown;			/* entry << 32 | xid */
} Holder;

extern void seckill_holder_publish(int slot, CacheEntry *entry,
								   TransactionId xid);
extern void seckill_holder_withdraw(int slot);
extern void seckill_holder_begin_move(void);
extern void seckill_holder_end_move(void);
extern bool seckill_holder_find(CacheEntry *entry, Holder *holder);
extern void seckill_holder_forget(Holder *holder);
extern bool seckill_holder_any(CacheEntry *entry);
extern bool seckill_holder_has_lost(CacheEntry *entry, const OwnUnits *own);
extern int32 seckill_holder_drop_lost(CacheEntry *entry, int32 own_units);

#endif							/* SECKILL_SHMEM_HOLDERS_H */
