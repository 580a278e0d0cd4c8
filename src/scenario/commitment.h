/*
 * commitment.h
 *		Commitments to what units are worth, published before the sale.
 */
#ifndef SECKILL_SCENARIO_COMMITMENT_H
#define SECKILL_SCENARIO_COMMITMENT_H

#include "fmgr.h"

extern bytea *seckill_commitment_compute(int64 item_id, int32 first,
										 int32 last, const bytea *seed,
										 int *undescribed);

#endif							/* SECKILL_SCENARIO_COMMITMENT_H */
