/*
 * buy.h
 *		Serving the purchases of a call, whatever the call returns of them.
 */
#ifndef SECKILL_API_BUY_H
#define SECKILL_API_BUY_H

#include "fmgr.h"

#include "api/purchase_arrays.h"
#include "seckill.h"
#include "shmem/stat.h"

extern void seckill_buy_serve(Purchase *p, const StatCall *call);
extern Purchase *seckill_buy_serve_many(FunctionCallInfo fcinfo,
										const PurchaseArrays *args,
										const char *function,
										bool wants_value, int *n);

#endif							/* SECKILL_API_BUY_H */
