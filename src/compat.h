/*
 * compat.h
 *		Every difference between PostgreSQL versions.
 */
#ifndef SECKILL_COMPAT_H
#define SECKILL_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "seckill needs PostgreSQL 15 or later"
#endif

/* what the server finds by name is exported, nothing else, as from 16 on */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS); \
extern PGDLLEXPORT const Pg_finfo_record *CppConcat(pg_finfo_,funcname)(void); \
const Pg_finfo_record * \
CppConcat(pg_finfo_,funcname) (void) \
{ \
	static const Pg_finfo_record my_finfo = { 1 }; \
	return &my_finfo; \
} \
extern int no_such_variable
extern PGDLLEXPORT void _PG_init(void);
#endif

/* access to variable-length values */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* a function that does not return */
#if PG_VERSION_NUM >= 180000
#define SECKILL_NORETURN	pg_noreturn
#else
#define SECKILL_NORETURN	pg_attribute_noreturn()
#endif

/* begin a scan of a heap by keys of an index */
#if PG_VERSION_NUM >= 180000
#define SeckillIndexBeginScan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define SeckillIndexBeginScan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* do I have just this lock? */
#if PG_VERSION_NUM >= 170000
#define SeckillLockHeldByMe(tag, mode)	LockHeldByMe(tag, mode, false)
#else
#define SeckillLockHeldByMe(tag, mode)	LockHeldByMe(tag, mode)
#endif

/* was a plan made under the search_path of now? */
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

/* a PGPROC by that index */
#ifndef GetPGProcByNumber
#define GetPGProcByNumber(n)	(&ProcGlobal->allProcs[(n)])
#endif

/* a wait event of our own, where there are such; *event keeps it */
#if PG_VERSION_NUM >= 170000
#define SeckillWaitEvent(event, name) \
	(*(event) != 0 ? *(event) : (*(event) = WaitEventExtensionNew(name)))
#else
#define SeckillWaitEvent(event, name)	((void) (event), PG_WAIT_EXTENSION)
#endif

#endif							/* SECKILL_COMPAT_H */
