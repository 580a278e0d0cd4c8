/*
 * check.c
 *		Checks of arguments, and errors that several layers raise.
 *
 * Keeps no state.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/node.h"

/* SQLSTATE if an item is sold on another node. */
#define ERRCODE_ITEM_MOVED	MAKE_SQLSTATE('S','K','0','0','5')

/* Raise if the named argument is null. */
void
seckill_check_argument(bool isnull, const char *name)
{
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

/*
 * Return a number of units that a caller passed; raise unless it is 1 to
 * PG_INT32_MAX.  The SQL functions take bigint, because drivers send integers
 * as such.
 */
int32
seckill_check_units(int64 units, const char *name)
{
	if (units < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be at least 1", name),
				 errdetail("It is " INT64_FORMAT ".", units)));
	if (units > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s must be at most %d", name, PG_INT32_MAX),
				 errdetail("It is " INT64_FORMAT ".", units)));
	return (int32) units;
}

/*
 * Return an interval in microseconds, limited to the range from 0 to a year.
 * A day has 24 hours and a month 30 days.
 */
int64
seckill_microseconds(const Interval *interval)
{
	double		days = interval->day +
		(double) interval->month * DAYS_PER_MONTH;
	double		total = interval->time + days * USECS_PER_DAY;

	return (int64) Max(Min(total, DAYS_PER_YEAR * (double) USECS_PER_DAY), 0.0);
}

/* Raise: the item does not exist. */
void
seckill_unknown_item(int64 item_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("item " INT64_FORMAT " does not exist", item_id),
			 errhint("Items are the rows of seckill.items.")));
}

/* Raise: the item has units, and is asked for seats. */
void
seckill_has_units(int64 item_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("item " INT64_FORMAT " has units, not seats", item_id),
			 errhint("Buy units with seckill_buy(). An item with seats has legs, and rows of seckill.seats.")));
}

/* Raise: the item has seats, and is asked for units. */
void
seckill_has_seats(int64 item_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("item " INT64_FORMAT " has seats, not units", item_id),
			 errhint("Book seats with seckill_book(). They are put on sale as rows of seckill.seats, and taken off with seckill_block_seats().")));
}

/* Raise: the item is not sold here, but in the given place. */
void
seckill_item_elsewhere(int64 item_id, ItemPlace place)
{
	if (place == PLACE_GONE)
		ereport(ERROR,
				(errcode(ERRCODE_ITEM_MOVED),
				 errmsg("item " INT64_FORMAT " has moved to another node",
						item_id),
				 errhint("seckill_whereis() says where it is. A router learns it by asking all nodes.")));
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("item " INT64_FORMAT " is being moved between nodes",
					item_id),
			 errhint("Retry in a moment.")));
}

/* Raise: the order of an item that is split over nodes is on another one. */
void
seckill_order_elsewhere(int64 item_id, int64 order_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_ITEM_MOVED),
			 errmsg("order " INT64_FORMAT " of item " INT64_FORMAT " is on another node",
					order_id, item_id),
			 errhint("Orders of an item that is split over nodes are on the node that made them, here node %d.",
					 seckill_node_of(order_id))));
}

/* Raise: another node sells the item, which is split over nodes, to the user. */
void
seckill_user_elsewhere(int64 item_id, int64 user_id, int node)
{
	ereport(ERROR,
			(errcode(ERRCODE_ITEM_MOVED),
			 errmsg("item " INT64_FORMAT " is sold to user " INT64_FORMAT " on another node",
					item_id, user_id),
			 errhint("Calls of this user on the item, which is split over nodes, belong to node %d.",
					 node)));
}

/*
 * Raise: the request_id of a single purchase has been used for another
 * purchase.
 */
void
seckill_request_reused(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("request_id was used for another purchase"),
			 errdetail("That purchase is by another user or of another quantity."),
			 errhint("Make a new UUID for each purchase that a user starts, and keep it for the retries.")));
}

/*
 * Raise unless the named function may change tables and shared memory here.
 *
 * Parallel mode is checked at run time because a caller may have labelled a
 * wrapper PARALLEL SAFE.  A parallel worker has the transaction id of its
 * leader and ends without the transaction events that the callbacks need.
 */
void
seckill_check_writable(const char *function)
{
	PreventCommandDuringRecovery(function);
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
}


/* Raise: the transaction's snapshot is too old to change a row. */
void
seckill_serialization_failure(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update"),
			 errhint("The transaction might succeed if retried.")));
}

/* Raise: the order does not exist. */
void
seckill_unknown_order(int64 item_id, int64 order_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("order " INT64_FORMAT " of item " INT64_FORMAT " does not exist",
					order_id, item_id)));
}

/*
 * Return the message of an error.  C code, a trigger for example, can raise an
 * error that has a SQLSTATE but no message.
 */
const char *
seckill_process_message(const ErrorData *error)
{
	return error->message != NULL ? error->message : _("missing error text");
}


/*
 * This node.  A server that was promoted, or restored to a point in time, runs
 * on another timeline than the one on which it joined (node.h).  It may have
 * lost its last commits, and with them the fact that an item has moved to
 * another node.  Until it is checked against the other nodes it sells nothing,
 * so that no item is sold in two places.
 */

/* May this node sell?  One that has not joined may. */
bool
seckill_node_is_open(void)
{
	const SeckillCatalog *c = seckill_catalog();

	return c->node == 0 || RecoveryInProgress() ||
		c->node_timeline == GetWALInsertionTimeLine();
}

/* Raise an error if this node may not sell. */
void
seckill_node_check_open(void)
{
	if (seckill_node_is_open())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("node %d was promoted or restored, and has not been checked against the other nodes",
					seckill_catalog()->node),
			 errhint("CALL seckill_rejoin() on it.")));
}
