/*
 * purchase_args.h
 *		Arguments of a purchase, and where a call in mode "queue" is allowed.
 */
#ifndef SECKILL_API_PURCHASE_ARGS_H
#define SECKILL_API_PURCHASE_ARGS_H

#include "fmgr.h"

#include "seckill.h"

extern void seckill_args_check_outside_transaction(FunctionCallInfo fcinfo,
												   const char *what);
extern void seckill_args_init_purchase(Purchase *p, int64 item_id, int64 user_id,
									   int64 quantity, SeckillMode mode);
extern void seckill_args_read_credentials(FunctionCallInfo fcinfo, int i,
										  Purchase *p);
extern void seckill_args_read(FunctionCallInfo fcinfo, const char *function,
							  int quantity, int i, Purchase *p);

#endif							/* SECKILL_API_PURCHASE_ARGS_H */
