/*
 * compat.h
 *		Differences between PostgreSQL versions; no other file tests the
 *		version.
 */
#ifndef SECKILL_COMPAT_H
#define SECKILL_COMPAT_H

#include "access/tableam.h"
#include "catalog/namespace.h"
#include "storage/proc.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "seckill needs PostgreSQL 15 or later"
#endif

/* fmgr.h declares it from 16 on */
#if PG_VERSION_NUM < 160000
extern PGDLLEXPORT void _PG_init(void);
#endif

/* access to variable-length values */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* descriptors of shared memory, see base/shmem.c */
#if PG_VERSION_NUM >= 190000
#define SECKILL_HAS_SHMEM_CALLBACKS
#endif

/* a function that does not return */
#if PG_VERSION_NUM >= 180000
#define SECKILL_NORETURN	pg_noreturn
#else
#define SECKILL_NORETURN	pg_attribute_noreturn()
#endif

/* begin a scan of a heap by keys of an index */
#if PG_VERSION_NUM >= 190000
#define SeckillIndexBeginScan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0, SO_NONE)
#elif PG_VERSION_NUM >= 180000
#define SeckillIndexBeginScan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define SeckillIndexBeginScan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* add the entries of a new row to all indexes of its table */
#if PG_VERSION_NUM >= 190000
#define SeckillInsertIndexTuples(result, slot, estate) \
	ExecInsertIndexTuples(result, estate, 0, slot, NIL, NULL)
#elif PG_VERSION_NUM >= 160000
#define SeckillInsertIndexTuples(result, slot, estate) \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL, false)
#else
#define SeckillInsertIndexTuples(result, slot, estate) \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL)
#endif

/* write a new version of a row, waiting for its lock */
#if PG_VERSION_NUM >= 190000
#define SeckillTupleUpdate(rel, tid, slot, cid, snapshot, failure, mode, which) \
	table_tuple_update(rel, tid, slot, cid, 0, snapshot, InvalidSnapshot, true, \
					   failure, mode, which)
#else
#define SeckillTupleUpdate(rel, tid, slot, cid, snapshot, failure, mode, which) \
	table_tuple_update(rel, tid, slot, cid, snapshot, InvalidSnapshot, true, \
					   failure, mode, which)
#endif

/* which indexes need entries of the new version, and adding them */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes SeckillUpdatedIndexes;
#define SeckillAnyIndexUpdated(which)	((which) != TU_None)
#else
typedef bool SeckillUpdatedIndexes;
#define SeckillAnyIndexUpdated(which)	(which)
#endif
#if PG_VERSION_NUM >= 190000
#define SeckillUpdateIndexTuples(result, slot, estate, which) \
	ExecInsertIndexTuples(result, estate, EIIT_IS_UPDATE | \
						  ((which) == TU_Summarizing ? EIIT_ONLY_SUMMARIZING : 0), \
						  slot, NIL, NULL)
#elif PG_VERSION_NUM >= 160000
#define SeckillUpdateIndexTuples(result, slot, estate, which) \
	ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL, \
						  (which) == TU_Summarizing)
#else
#define SeckillUpdateIndexTuples(result, slot, estate, which) \
	ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL)
#endif

/* make a range that is not empty */
#if PG_VERSION_NUM >= 160000
#define SeckillMakeRange(type, lower, upper) \
	make_range(type, lower, upper, false, NULL)
#else
#define SeckillMakeRange(type, lower, upper) \
	make_range(type, lower, upper, false)
#endif

/* does this backend have the lock in exactly this mode? */
#if PG_VERSION_NUM >= 170000
#define SeckillLockHeldByMe(tag, mode)	LockHeldByMe(tag, mode, false)
#else
#define SeckillLockHeldByMe(tag, mode)	LockHeldByMe(tag, mode)
#endif

/* has another transaction ended?  Does not wait. */
#if PG_VERSION_NUM >= 180000
#define SeckillXactHasEnded(xid)	ConditionalXactLockTableWait(xid, false)
#else
#define SeckillXactHasEnded(xid)	ConditionalXactLockTableWait(xid)
#endif

/* is this the current search_path? */
#if PG_VERSION_NUM >= 170000
#define SeckillSearchPathMatches(path) \
	SearchPathMatchesCurrentEnvironment(path)
#else
#define SeckillSearchPathMatches(path) \
	OverrideSearchPathMatchesCurrent(path)
#endif

/* index of this backend among all backends, 0 to MaxBackends - 1 */
#if PG_VERSION_NUM >= 170000
#define SeckillMyProcIndex()	(MyProcNumber)
#else
#define SeckillMyProcIndex()	(MyProc->pgprocno)
#endif

/* the PGPROC with that index */
#ifndef GetPGProcByNumber
#define GetPGProcByNumber(n)	(&ProcGlobal->allProcs[(n)])
#endif

/* a custom wait event, where the server has those; *event keeps it */
#if PG_VERSION_NUM >= 170000
#define SeckillWaitEvent(event, name) \
	(*(event) != 0 ? *(event) : (*(event) = WaitEventExtensionNew(name)))
#else
#define SeckillWaitEvent(event, name)	((void) (event), PG_WAIT_EXTENSION)
#endif

/* write a WAL record, so that the transaction commits with a record too */
#if PG_VERSION_NUM >= 170000
#define SeckillLogMessage(prefix) \
	((void) LogLogicalMessage(prefix, "", 0, true, false))
#else
#define SeckillLogMessage(prefix) \
	((void) LogLogicalMessage(prefix, "", 0, true))
#endif

/*
 * switch transaction_timeout off in this process, whatever the database sets
 */
#if PG_VERSION_NUM >= 170000
#define SeckillNoTransactionTimeout() \
	SetConfigOption("transaction_timeout", "0", PGC_USERSET, PGC_S_OVERRIDE)
#else
#define SeckillNoTransactionTimeout()	((void) 0)
#endif

#endif							/* SECKILL_COMPAT_H */
