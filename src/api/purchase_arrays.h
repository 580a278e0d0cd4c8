/*
 * purchase_arrays.h
 *		Purchases that a caller passes as arrays.
 */
#ifndef SECKILL_API_PURCHASE_ARRAYS_H
#define SECKILL_API_PURCHASE_ARRAYS_H

#include "fmgr.h"
#include "utils/array.h"

#include "seckill.h"

/* Positions of the arguments of a function; -1: it has no such argument. */
typedef struct PurchaseArrays
{
	int			item_ids;
	int			user_ids;
	int			quantities;
	int			request_ids;
	int			tokens;
} PurchaseArrays;

extern int	seckill_arrays_elements(ArrayType *array, const char *name,
									Oid type, Datum **values, bool **nulls);
extern Purchase *seckill_arrays_read(FunctionCallInfo fcinfo,
									 const PurchaseArrays *args, int64 item_id,
									 SeckillMode mode, int *n);

#endif							/* SECKILL_API_PURCHASE_ARRAYS_H */
