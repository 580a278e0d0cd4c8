/*
 * new_orders.c
 *		What all INSERTs of orders have in common, those of units and of seats.
 *
 * All functions run between seckill_table_begin() and seckill_table_end().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/uuid.h"

#include "base/catalog.h"
#include "shmem/schedule.h"
#include "table/new_orders.h"

/* Set the order_id of each purchase, in ascending order. */
void
seckill_new_orders_set_ids(Purchase **list, int n)
{
	for (int i = 0; i < n; i++)
		list[i]->order_id = nextval_internal(seckill_catalog()->order_ids,
											 false);
}

/* Set the first NEW_ORDER_ARGS arguments of an INSERT of one order. */
void
seckill_new_order_args(const Purchase *p, const NewOrders *new, Datum *args,
					   char *nulls)
{
	const SeckillCatalog *c = seckill_catalog();
	bool		pending = p->rules.pay_within > 0;

	memset(nulls, ' ', NEW_ORDER_ARGS);
	args[0] = Int64GetDatum(p->item_id);
	args[1] = Int64GetDatum(p->order_id);
	args[2] = Int64GetDatum(p->user_id);
	args[3] = Int32GetDatum(p->quantity);
	args[4] = UUIDPGetDatum(&p->request_id);
	if (!p->has_request)
		nulls[4] = 'n';
	args[5] = BoolGetDatum(p->rules.per_user_limit > 0);
	args[6] = ObjectIdGetDatum(c->mode[new->mode]);
	args[7] = Int64GetDatum(new->lease_id);
	if (new->lease_id == 0)
		nulls[7] = 'n';
	args[8] = TimestampTzGetDatum(new_order_pay_by(p, new));
	if (!pending)
		nulls[8] = 'n';
	args[9] = ObjectIdGetDatum(c->state[pending ? ORDER_PENDING :
										ORDER_CONFIRMED]);
}

/* Set the first NEW_ORDERS_ARGS arguments of an INSERT of many orders. */
void
seckill_new_orders_args(Purchase **list, int n, const NewOrders *new,
						Datum *args, char *nulls)
{
	const SeckillCatalog *c = seckill_catalog();
	Datum	   *column[7];
	bool	   *no_request = palloc(n * sizeof(bool));
	bool	   *no_pay_by = palloc(n * sizeof(bool));

	for (int j = 0; j < (int) lengthof(column); j++)
		column[j] = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		const Purchase *p = list[i];

		column[0][i] = Int64GetDatum(p->item_id);
		column[1][i] = Int64GetDatum(p->order_id);
		column[2][i] = Int64GetDatum(p->user_id);
		column[3][i] = Int32GetDatum(p->quantity);
		column[4][i] = UUIDPGetDatum(&p->request_id);
		column[5][i] = BoolGetDatum(p->rules.per_user_limit > 0);
		column[6][i] = TimestampTzGetDatum(new_order_pay_by(p, new));
		no_request[i] = !p->has_request;
		no_pay_by[i] = p->rules.pay_within == 0;
	}
	memset(nulls, ' ', NEW_ORDERS_ARGS);
	for (int j = 0; j < 3; j++)
		args[j] = seckill_plan_int8_array(column[j], n);
	args[3] = seckill_plan_int4_array(column[3], n);
	args[4] = seckill_plan_array_with_nulls(column[4], no_request, n, UUIDOID,
											UUID_LEN, false, TYPALIGN_CHAR);
	args[5] = PointerGetDatum(construct_array(column[5], n, BOOLOID, 1, true,
											  TYPALIGN_CHAR));
	args[6] = ObjectIdGetDatum(c->mode[new->mode]);
	args[7] = Int64GetDatum(new->lease_id);
	if (new->lease_id == 0)
		nulls[7] = 'n';
	args[8] = seckill_plan_array_with_nulls(column[6], no_pay_by, n,
											TIMESTAMPTZOID, sizeof(TimestampTz),
											FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	args[9] = ObjectIdGetDatum(c->state[ORDER_CONFIRMED]);
	args[10] = ObjectIdGetDatum(c->state[ORDER_PENDING]);
}

/* The seats of pieces as an array. */
Datum
seckill_new_order_seats(const SeatPiece *pieces, int n)
{
	Datum	   *seats = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		seats[i] = Int32GetDatum(pieces[i].seat);
	return seckill_plan_int4_array(seats, n);
}

/* The legs of pieces as an array. */
Datum
seckill_new_order_legs(const SeatPiece *pieces, int n)
{
	Datum	   *legs = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		legs[i] = Int64GetDatum((int64) pieces[i].legs);
	return seckill_plan_int8_array(legs, n);
}

/* Run an INSERT of orders as their owner; returns the number of rows. */
uint64
seckill_new_orders_run(SqlPlan *plan, Datum *args, const char *nulls,
					   const NewOrders *new)
{
	TableCaller owner;
	int			nest;
	int			rc;

	seckill_table_switch_user(seckill_catalog()->orders_owner, &owner);
	nest = seckill_plan_begin_generic();
	rc = SPI_execute_snapshot(seckill_plan_get(plan), args, nulls,
							  new->snapshot, InvalidSnapshot, false, true, 0);
	seckill_plan_end_generic(nest);
	seckill_table_restore_user(&owner);
	if (rc < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s",
			 SPI_result_code_string(rc));
	return SPI_processed;
}

/*
 * Check that all orders were inserted, and schedule the maintenance worker for
 * when the first of them must be paid.  A trigger that skips a row is an
 * error: it would lose the order while its units are gone.
 */
void
seckill_new_orders_done(Purchase **list, int n, const NewOrders *new,
						uint64 inserted)
{
	if (inserted != (uint64) n)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("order of item " INT64_FORMAT " was not inserted",
						list[0]->item_id),
				 errhint("Look for a trigger or rule on seckill.orders that skips rows.")));
	for (int i = 0; i < n; i++)
		if (list[i]->rules.pay_within > 0)
			seckill_schedule_note(new_order_pay_by(list[i], new));
}
