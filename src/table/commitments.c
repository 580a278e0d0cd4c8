/*
 * commitments.c
 *		Statements on seckill.commitments and seckill.prizes.
 *
 * All functions run between seckill_table_begin() and seckill_table_end().
 * Except for the prizes, which are locked, they see the latest committed rows
 * and our own.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "base/catalog.h"
#include "table/commitments.h"
#include "table/plan.h"

/*
 * Prizes
 */

static SqlPlan prizes_plan = {
	.sql = "SELECT prize, amount, title FROM seckill.prizes"
	" WHERE item_id" EQ "$1 AND prize" EQ "ANY ($2)"
	" ORDER BY prize FOR SHARE",
	.nargs = 2,
	.types = {INT8OID, INT4ARRAYOID}
};

/*
 * Lock these n prizes of the item against changes until the end of the
 * transaction, and read them in ascending order into *prizes; returns how many
 * there are.  The titles are allocated in the current memory context.
 */
int
seckill_prizes_lock(int64 item_id, const int32 *numbers, int n,
					PrizeRow *prizes)
{
	Datum	   *values = palloc(Max(n, 1) * sizeof(Datum));
	Datum		args[2];
	int			found;

	for (int i = 0; i < n; i++)
		values[i] = Int32GetDatum(numbers[i]);
	args[0] = Int64GetDatum(item_id);
	args[1] = seckill_plan_int4_array(values, n);
	found = (int) seckill_plan_run_as(&prizes_plan, args,
									  seckill_catalog()->prizes_owner);
	for (int i = 0; i < found; i++)
	{
		prizes[i].prize = DatumGetInt32(seckill_plan_result_column(i, 1, Int32GetDatum(0)));
		prizes[i].amount = DatumGetInt64(seckill_plan_result_column(i, 2, Int64GetDatum(0)));
		prizes[i].title = TextDatumGetCString(seckill_plan_result_column(i, 3, 0));
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

static SqlPlan delete_prizes_plan = {
	.sql = "DELETE FROM seckill.prizes WHERE item_id" EQ "$1",
	.nargs = 1,
	.types = {INT8OID}
};

static SqlPlan any_prize_plan = {
	.sql = "SELECT 1 FROM seckill.prizes LIMIT 1"
};

/* Is there a prize, of any item? */
bool
seckill_prizes_any(void)
{
	return seckill_plan_run_latest(&any_prize_plan, NULL,
								   seckill_catalog()->prizes_owner) > 0;
}


/*
 * Commitments
 */

static SqlPlan insert_plan = {
	.sql = "INSERT INTO seckill.commitments"
	" (item_id, first_unit, last_unit, commitment, seed)"
	" VALUES ($1, $2, $3, $4, $5)",
	.nargs = 5,
	.types = {INT8OID, INT4OID, INT4OID, BYTEAOID, BYTEAOID}
};

/* Write a commitment to what the numbers from first to last are worth. */
void
seckill_commitments_insert(int64 item_id, int32 first, int32 last,
						   const bytea *commitment, const bytea *seed)
{
	Datum		args[] = {Int64GetDatum(item_id), Int32GetDatum(first),
		Int32GetDatum(last), PointerGetDatum(commitment),
	PointerGetDatum(seed)};

	if (seckill_plan_run_as(&insert_plan, args,
							seckill_catalog()->commitments_owner) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("commitment of item " INT64_FORMAT " was not inserted",
						item_id),
				 errhint("Look for a trigger or rule on seckill.commitments that skips rows.")));
}

static SqlPlan read_plan = {
	.sql = "SELECT first_unit, last_unit, commitment, seed"
	" FROM seckill.commitments WHERE item_id" EQ "$1 ORDER BY first_unit",
	.nargs = 1,
	.types = {INT8OID}
};

/* Read all commitments of an item; returns their number. */
int
seckill_commitments_read(int64 item_id, Commitment **commitments)
{
	Datum		args[] = {Int64GetDatum(item_id)};
	int			n = (int) seckill_plan_run_latest(&read_plan, args,
												  seckill_catalog()->commitments_owner);

	*commitments = palloc(Max(n, 1) * sizeof(Commitment));
	for (int i = 0; i < n; i++)
	{
		Commitment *c = &(*commitments)[i];

		c->first_unit = DatumGetInt32(seckill_plan_result_column(i, 1, Int32GetDatum(0)));
		c->last_unit = DatumGetInt32(seckill_plan_result_column(i, 2, Int32GetDatum(0)));
		c->commitment = DatumGetByteaPCopy(seckill_plan_result_column(i, 3, 0));
		c->seed = DatumGetByteaPCopy(seckill_plan_result_column(i, 4, 0));
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

static SqlPlan reveal_plan = {
	.sql = "UPDATE seckill.commitments SET revealed_at = pg_catalog.now()"
	" WHERE item_id" EQ "$1 AND revealed_at IS NULL",
	.nargs = 1,
	.types = {INT8OID}
};

/* Mark the commitments of an item revealed. */
void
seckill_commitments_reveal(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	(void) seckill_plan_run_as(&reveal_plan, args,
							   seckill_catalog()->commitments_owner);
}

static SqlPlan exist_plan = {
	.sql = "SELECT 1 FROM seckill.commitments WHERE item_id" EQ "$1 LIMIT 1",
	.nargs = 1,
	.types = {INT8OID}
};

/* Does the item have a commitment? */
bool
seckill_commitments_exist(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	return seckill_plan_run_latest(&exist_plan, args,
								   seckill_catalog()->commitments_owner) > 0;
}

static SqlPlan revealed_plan = {
	.sql = "SELECT 1 FROM seckill.commitments"
	" WHERE item_id" EQ "$1 AND revealed_at IS NOT NULL LIMIT 1",
	.nargs = 1,
	.types = {INT8OID}
};

/* Is a seed of the item revealed? */
bool
seckill_commitments_revealed(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	return seckill_plan_run_latest(&revealed_plan, args,
								   seckill_catalog()->commitments_owner) > 0;
}

/* Raise an error if a seed of the item is revealed. */
void
seckill_commitments_check_secret(int64 item_id)
{
	if (seckill_commitments_revealed(item_id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("item " INT64_FORMAT " is revealed and sells no more",
						item_id),
				 errdetail("Everybody can know what its units are worth."),
				 errhint("Sell new units as another item.")));
}

static SqlPlan any_plan = {
	.sql = "SELECT 1 FROM seckill.commitments LIMIT 1"
};

/* Is there a commitment, of any item? */
bool
seckill_commitments_any(void)
{
	return seckill_plan_run_latest(&any_plan, NULL,
								   seckill_catalog()->commitments_owner) > 0;
}

static SqlPlan delete_plan = {
	.sql = "DELETE FROM seckill.commitments WHERE item_id" EQ "$1",
	.nargs = 1,
	.types = {INT8OID}
};

/* Delete the commitments and prizes of an item that is being deleted. */
void
seckill_commitments_delete(int64 item_id)
{
	Datum		args[] = {Int64GetDatum(item_id)};

	(void) seckill_plan_run_as(&delete_plan, args,
							   seckill_catalog()->commitments_owner);
	(void) seckill_plan_run_as(&delete_prizes_plan, args,
							   seckill_catalog()->prizes_owner);
}
