/*
 * purchase_arrays.c
 *		Purchases that a caller passes as arrays, an element each.
 *
 * Each function raises an error for an array that is NULL, has NULL elements
 * or elements out of range where none are allowed, or has another length than
 * the first one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "api/purchase_args.h"
#include "api/purchase_arrays.h"
#include "base/check.h"
#include "seckill.h"

/*
 * Read the elements of an array of the given type; returns how many.  Raises
 * an error if the array has more than one dimension.
 */
int
seckill_arrays_elements(ArrayType *array, const char *name, Oid type,
						Datum **values, bool **nulls)
{
	int16		length;
	bool		by_value;
	char		align;
	int			n;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must have one dimension", name)));
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, values, nulls, &n);
	return n;
}

/*
 * Read the array of argument i, which has an element for each of the n users.
 * Returns false if the argument is NULL, or if the function has none.
 */
static bool
get_as_many(FunctionCallInfo fcinfo, int i, const char *name, Oid type, int n,
			Datum **values, bool **nulls)
{
	if (i < 0 || PG_ARGISNULL(i))
		return false;
	if (seckill_arrays_elements(PG_GETARG_ARRAYTYPE_P(i), name, type, values,
								nulls) != n)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must have as many elements as user_ids", name)));
	return true;
}

/* Set the request_id of each purchase; NULL is none. */
static void
set_requests(FunctionCallInfo fcinfo, int i, Purchase *purchases, int n)
{
	Datum	   *values;
	bool	   *nulls;

	if (!get_as_many(fcinfo, i, "request_ids", UUIDOID, n, &values, &nulls))
		return;
	for (int j = 0; j < n; j++)
	{
		purchases[j].has_request = !nulls[j];
		if (!nulls[j])
			purchases[j].request_id = *DatumGetUUIDP(values[j]);
	}
}

/* Set the token of each purchase; NULL is none. */
static void
set_tokens(FunctionCallInfo fcinfo, int i, Purchase *purchases, int n)
{
	Datum	   *values;
	bool	   *nulls;

	if (!get_as_many(fcinfo, i, "tokens", TEXTOID, n, &values, &nulls))
		return;
	for (int j = 0; j < n; j++)
		if (!nulls[j])
			purchases[j].token = DatumGetTextPP(values[j]);
}

/*
 * Make a purchase for each element of the arrays, in their order; sets *n to
 * their number, which can be 0.  Without the argument item_ids they are all of
 * the item item_id, and without quantities each is for one unit.
 */
Purchase *
seckill_arrays_read(FunctionCallInfo fcinfo, const PurchaseArrays *args,
					int64 item_id, SeckillMode mode, int *n)
{
	Datum	   *users;
	Datum	   *items;
	Datum	   *quantities;
	bool	   *no_user;
	bool	   *no_item;
	bool	   *no_quantity;
	bool		has_items;
	bool		has_quantities;
	Purchase   *purchases;

	if (args->item_ids >= 0)
		seckill_check_argument(PG_ARGISNULL(args->item_ids), "item_ids");
	seckill_check_argument(PG_ARGISNULL(args->user_ids), "user_ids");
	*n = seckill_arrays_elements(PG_GETARG_ARRAYTYPE_P(args->user_ids),
								 "user_ids", INT8OID, &users, &no_user);
	has_items = get_as_many(fcinfo, args->item_ids, "item_ids", INT8OID, *n,
							&items, &no_item);
	has_quantities = get_as_many(fcinfo, args->quantities, "quantities",
								 INT8OID, *n, &quantities, &no_quantity);
	purchases = palloc_extended(Max(*n, 1) * sizeof(Purchase),
								MCXT_ALLOC_HUGE);
	for (int i = 0; i < *n; i++)
	{
		seckill_check_argument(no_user[i], "an element of user_ids");
		if (has_items)
			seckill_check_argument(no_item[i], "an element of item_ids");
		if (has_quantities)
			seckill_check_argument(no_quantity[i], "an element of quantities");
		seckill_args_init_purchase(&purchases[i],
								   has_items ? DatumGetInt64(items[i]) : item_id,
								   DatumGetInt64(users[i]),
								   has_quantities ? DatumGetInt64(quantities[i]) : 1,
								   mode);
		purchases[i].in_array = true;
	}
	set_requests(fcinfo, args->request_ids, purchases, *n);
	set_tokens(fcinfo, args->tokens, purchases, *n);
	return purchases;
}
