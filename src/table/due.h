/*
 * due.h
 *		Rows that are due at a time: pending orders, scheduled releases.
 */
#ifndef SECKILL_TABLE_DUE_H
#define SECKILL_TABLE_DUE_H

#include "datatype/timestamp.h"

#include "table/plan.h"

/* The key of such a row. */
typedef struct DueKey
{
	int64		item_id;
	int64		number;			/* order_id or release_id */
} DueKey;

extern int	seckill_due_read(SqlPlan *plan, Oid owner, TimestampTz now,
							 const int64 *except, int nexcept, int skip,
							 DueKey *rows, int max);
extern Datum seckill_due_numbers(const DueKey *rows, int n);

#endif							/* SECKILL_TABLE_DUE_H */
