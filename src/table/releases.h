/*
 * releases.h
 *		Statements on seckill.releases.
 */
#ifndef SECKILL_TABLE_RELEASES_H
#define SECKILL_TABLE_RELEASES_H

#include "datatype/timestamp.h"

#include "base/number_set.h"
#include "table/due.h"

/* Units of releases of one item that are to be put on sale. */
typedef struct ReleasedUnits
{
	int64		units;			/* without a number, or with a new one */
	NumberSet  *numbers;		/* that have been off sale so far */
} ReleasedUnits;

extern int	seckill_releases_due(TimestampTz now, const int64 *except,
								 int nexcept, int skip, DueKey *releases,
								 int max);
extern TimestampTz seckill_releases_next(TimestampTz after);
extern int	seckill_releases_finish(int64 item_id, const DueKey *releases,
									int n, TimestampTz now,
									ReleasedUnits *released);
extern void seckill_releases_insert(int64 item_id, TimestampTz release_at,
									int32 first, int32 units);
extern NumberSet *seckill_releases_cancel(int64 item_id,
										  const NumberSet *off_sale);
extern void seckill_releases_delete(int64 item_id);
extern bool seckill_releases_planned(int64 item_id);
extern bool seckill_releases_any(void);

#endif							/* SECKILL_TABLE_RELEASES_H */
