/*
 * result.h
 *		Result rows.
 */
#ifndef SECKILL_API_RESULT_H
#define SECKILL_API_RESULT_H

#include "fmgr.h"

#include "seckill.h"

extern Datum seckill_result_row(FunctionCallInfo fcinfo, Datum *values,
								bool *nulls);
extern Datum seckill_result_refusal(FunctionCallInfo fcinfo,
									SeckillOutcome outcome);
extern Datum seckill_result_outcome(FunctionCallInfo fcinfo,
									SeckillOutcome outcome, bool has_number,
									int64 number);

#endif							/* SECKILL_API_RESULT_H */
