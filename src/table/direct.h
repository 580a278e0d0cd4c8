/*
 * direct.h
 *		What direct writes of orders, items and seats have in common.
 */
#ifndef SECKILL_TABLE_DIRECT_H
#define SECKILL_TABLE_DIRECT_H

#include "executor/tuptable.h"
#include "nodes/lockoptions.h"
#include "nodes/nodes.h"
#include "utils/relcache.h"

/* A test of the relation's cache entry, kept until an invalidation. */
typedef struct DirectTest
{
	bool		(*is_plain) (Relation table);
	uint64		generation;		/* of the catalog that the answer is for */
	bool		plain;
} DirectTest;

typedef enum DirectResult
{
	DIRECT_NEEDS_SQL,			/* nothing was done; SQL knows what to do */
	DIRECT_REFUSED,				/* there is no row, or it is in another state */
	DIRECT_DONE
} DirectResult;

/*
 * Changes the copy of a row.  DIRECT_DONE: it can be written.  It may be called
 * again, on a newer version, which may have another key.
 */
typedef DirectResult (*DirectForm) (TupleTableSlot *row,
									const void *change);

extern bool seckill_direct_is_on(void);
extern bool seckill_direct_is_allowed(DirectTest *test, Relation table);
extern bool seckill_direct_is_expression(Relation table,
										 const char *expression,
										 const char *as_text);
extern bool seckill_direct_is_call(const Node *node, const char *name);
extern bool seckill_direct_can_update(Relation table,
									  const AttrNumber *changed, int n);
extern bool seckill_direct_may(Relation table, Oid owner, uint32 rights);
extern bool seckill_direct_lock(Relation table, TupleTableSlot *slot,
								LockWaitPolicy policy, uint8 flags);
extern DirectResult seckill_direct_update(Relation table,
										  TupleTableSlot *found,
										  DirectForm form, const void *change);

#endif							/* SECKILL_TABLE_DIRECT_H */
