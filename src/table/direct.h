/*
 * direct.h
 *		What direct writes of orders and items have in common.
 */
#ifndef SECKILL_TABLE_DIRECT_H
#define SECKILL_TABLE_DIRECT_H

#include "utils/relcache.h"

/* A test of the relation's cache entry, kept until an invalidation. */
typedef struct DirectTest
{
	bool		(*is_plain) (Relation table);
	uint64		generation;		/* of the catalog that the answer is for */
	bool		plain;
} DirectTest;

extern bool seckill_direct_is_on(void);
extern bool seckill_direct_is_allowed(DirectTest *test, Relation table);
extern bool seckill_direct_is_expression(Relation table,
										 const char *expression,
										 const char *as_text);
extern bool seckill_direct_may(Relation table, Oid owner, uint32 rights);

#endif							/* SECKILL_TABLE_DIRECT_H */
