/*
 * claim.c
 *		seckill_claim(), seckill_claim_many() and seckill_unit(): purchases of
 *		units with numbers that also say what the unit is worth.
 *
 * A claim is a purchase like any other (buy.c).  The value of its unit was
 * fixed before the sale and is looked up after the purchase, by its number.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/tuplestore.h"

#include "api/buy.h"
#include "api/purchase_args.h"
#include "api/purchase_arrays.h"
#include "api/result.h"
#include "base/catalog.h"
#include "base/check.h"
#include "base/fault.h"
#include "sale/unit.h"
#include "seckill.h"
#include "shmem/stat.h"

PG_FUNCTION_INFO_V1(seckill_claim);
PG_FUNCTION_INFO_V1(seckill_claim_many);
PG_FUNCTION_INFO_V1(seckill_unit);

/* The columns of a result that tell a unit and its value. */
#define UNIT_VALUES		4

/* Set the columns unit, code, prize and amount of a result. */
static void
put_unit(int32 unit, const UnitValue *value, Datum *values, bool *nulls)
{
	values[0] = Int32GetDatum(unit);
	nulls[0] = unit == 0;
	values[1] = PointerGetDatum(value->code);
	nulls[1] = value->code == NULL;
	values[2] = Int32GetDatum(value->prize);
	nulls[2] = !value->has_prize;
	values[3] = Int64GetDatum(value->amount);
	nulls[3] = !value->has_amount;
}

/* Set the columns from outcome on of the result of a claim. */
static void
put_claim(const Purchase *p, const UnitValue *value, Datum *values,
		  bool *nulls)
{
	bool		sold = p->outcome == SECKILL_SOLD;

	values[0] = ObjectIdGetDatum(seckill_catalog()->outcome[p->outcome]);
	nulls[0] = false;
	values[1] = Int64GetDatum(p->order_id);
	nulls[1] = !sold;
	put_unit(sold ? p->unit : 0, value, values + 2, nulls + 2);
}

/*
 * seckill_claim(item_id bigint, user_id bigint, mode seckill_mode,
 *				 request_id uuid, token text)
 *		returns (outcome seckill_outcome, order_id bigint, unit integer,
 *				 code text, prize integer, amount bigint)
 *
 * Buys one unit of an item whose units have numbers, as seckill_buy() does,
 * and says which number it is and what it is worth.  A repeated call with the
 * same request_id says the same.
 *
 * code, prize and amount are NULL until the order has the state that
 * items.reveal_on names, once the order is not live any more, and where the
 * unit has no such value; a unit without any is a blank.
 *
 * Errors: those of seckill_buy(), and an item whose units have no numbers.
 */
Datum
seckill_claim(PG_FUNCTION_ARGS)
{
	Purchase	p;
	StatCall	call;
	UnitValue	value;
	Datum		values[2 + UNIT_VALUES];
	bool		nulls[2 + UNIT_VALUES];

	seckill_stat_begin(&call);
	seckill_args_read(fcinfo, "seckill_claim()", 0, 3, &p);
	p.wants_value = true;
	seckill_buy_serve(&p, &call);
	if (p.outcome != SECKILL_SOLD)
		return seckill_result_refusal(fcinfo, p.outcome);
	seckill_unit_values(&p, 1, &value);
	SECKILL_FAULT("value read");
	put_claim(&p, &value, values, nulls);
	return seckill_result_row(fcinfo, values, nulls);
}

/*
 * seckill_claim_many(item_id bigint, user_ids bigint[], mode seckill_mode,
 *					  request_ids uuid[], tokens text[])
 *		returns setof (user_id bigint, outcome seckill_outcome,
 *					   order_id bigint, unit integer, code text,
 *					   prize integer, amount bigint)
 *
 * Claims one unit for each element of user_ids, as seckill_buy_many() buys
 * them.  Ten draws of one user are ten elements.
 *
 * Errors: those of seckill_buy_many(), and an item whose units have no
 * numbers.
 */
Datum
seckill_claim_many(PG_FUNCTION_ARGS)
{
	static const PurchaseArrays args = {
		.item_ids = -1,.user_ids = 1,.request_ids = 3,.tokens = 4,
		.quantities = -1
	};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Purchase   *purchases;
	UnitValue  *told;
	int			n;

	purchases = seckill_buy_serve_many(fcinfo, &args, "seckill_claim_many()",
									   true, &n);
	told = palloc(Max(n, 1) * sizeof(UnitValue));
	seckill_unit_values(purchases, n, told);
	SECKILL_FAULT("values read");
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		Datum		values[3 + UNIT_VALUES];
		bool		nulls[3 + UNIT_VALUES];

		values[0] = Int64GetDatum(purchases[i].user_id);
		nulls[0] = false;
		put_claim(&purchases[i], &told[i], values + 1, nulls + 1);
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}

/*
 * seckill_unit(item_id bigint, order_id bigint)
 *		returns (unit integer, code text, prize integer, amount bigint)
 *
 * Says of an order what seckill_claim() says: the number of its unit and what
 * it is worth.  It sees the latest committed state of the order, or that of
 * this transaction.  All columns are NULL for an order without a number.
 *
 * Errors: a NULL argument, an unknown item or order.
 */
Datum
seckill_unit(PG_FUNCTION_ARGS)
{
	int32		unit;
	UnitValue	value;
	Datum		values[UNIT_VALUES];
	bool		nulls[UNIT_VALUES];

	PreventCommandIfParallelMode("seckill_unit()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "order_id");
	seckill_unit_of_order(PG_GETARG_INT64(0), PG_GETARG_INT64(1), &unit,
						  &value);
	put_unit(unit, &value, values, nulls);
	return seckill_result_row(fcinfo, values, nulls);
}
