/*
 * values.h
 *		Units with values: put on sale, withdrawn at the end, revealed.
 */
#ifndef SECKILL_SCENARIO_VALUES_H
#define SECKILL_SCENARIO_VALUES_H

#include "datatype/timestamp.h"

#include "table/commitments.h"
#include "table/unit_scan.h"

extern int	seckill_values_add(int64 item_id, const UnitValue *values, int n,
							   const bytea *seed, TimestampTz release_at,
							   bool *skipped, int32 *first);
extern int64 seckill_values_close(int64 item_id, int64 *amount);
extern int	seckill_values_reveal(int64 item_id, Commitment **commitments,
								  bool **unchanged);

#endif							/* SECKILL_SCENARIO_VALUES_H */
