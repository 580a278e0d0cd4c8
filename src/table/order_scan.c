/*
 * order_scan.c
 *		Orders by user or by request, read from an index.
 *
 * A scan looks up any number of keys (item_id, user_id), with a range of
 * created_at, or (item_id, request_id) under one latest snapshot: it sees all
 * committed orders and our own, at any isolation level.  It needs no SPI,
 * checks no rights, and gives up its locks on table and index at its end.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "utils/fmgroids.h"

#include "base/columns.h"
#include "table/booking_insert.h"
#include "table/index_scan.h"
#include "table/order_scan.h"
#include "table/relation.h"

struct OrderScan
{
	TableScan	table;
};

/*
 * Begin a scan of the orders by request or by user.  Ends with
 * seckill_order_scan_end().
 */
OrderScan *
seckill_order_scan_begin(bool by_request)
{
	OrderScan  *s = palloc(sizeof(OrderScan));

	seckill_scan_begin(&s->table, seckill_relation_open_orders(),
					   seckill_relation_open_orders_index(by_request),
					   by_request ? 2 : 4);
	return s;
}

/* Start the look-up of a user's orders with created_at in a range. */
static void
rescan_user(OrderScan *s, int64 item_id, int64 user_id, TimestampTz from,
			TimestampTz to)
{
	ScanKeyData keys[4];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(user_id));
	ScanKeyInit(&keys[2], 3, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
				TimestampTzGetDatum(from));
	ScanKeyInit(&keys[3], 3, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(to));
	seckill_scan_find(&s->table, keys, 4);
}

/* Start the look-up of the order of a request. */
static void
rescan_request(OrderScan *s, int64 item_id, const pg_uuid_t *request_id)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(request_id));
	seckill_scan_find(&s->table, keys, 2);
}

/* A column of the order that was found; none of those read is NULL. */
static Datum
order_column(OrderScan *s, int column)
{
	bool		isnull;

	return slot_getattr(s->table.slot, column, &isnull);
}

/* End the scan, and release its locks. */
void
seckill_order_scan_end(OrderScan *s)
{
	seckill_scan_end(&s->table);
	pfree(s);
}

/*
 * The units of an item that a user has in orders that count for the limit and
 * have created_at in a range.
 */
int64
seckill_order_scan_bought(OrderScan *s, int64 item_id, int64 user_id,
						  TimestampTz from, TimestampTz to)
{
	int64		bought = 0;

	rescan_user(s, item_id, user_id, from, to);
	while (seckill_scan_next(&s->table))
		bought += DatumGetInt32(order_column(s, ORDER_QUANTITY));
	return bought;
}

/*
 * The transaction that wrote the order as it was found.  For a frozen row it
 * is FrozenTransactionId, as the status of the writer may not be kept any
 * more.
 */
static TransactionId
order_xmin(OrderScan *s)
{
	return HeapTupleHeaderGetXmin(ExecFetchSlotHeapTuple(s->table.slot, false,
														 NULL)->t_data);
}

/* Read the seats of the order that was found; 0 if it has units. */
static int
read_pieces(OrderScan *s, SeatPiece **pieces)
{
	bool		no_seats;
	bool		no_legs;
	Datum		seats = slot_getattr(s->table.slot, ORDER_SEATS, &no_seats);
	Datum		legs = slot_getattr(s->table.slot, ORDER_SEAT_LEGS, &no_legs);

	return no_seats || no_legs ? 0 :
		seckill_booking_read_arrays(seats, legs, pieces);
}

/* Find the order that a request has made; false if there is none. */
bool
seckill_order_scan_requested(OrderScan *s, int64 item_id,
							 const pg_uuid_t *request_id, OrderOfRequest *order)
{
	rescan_request(s, item_id, request_id);
	if (!seckill_scan_next(&s->table))
		return false;
	order->order_id = DatumGetInt64(order_column(s, ORDER_ORDER_ID));
	order->user_id = DatumGetInt64(order_column(s, ORDER_USER_ID));
	order->quantity = DatumGetInt32(order_column(s, ORDER_QUANTITY));
	order->xmin = order_xmin(s);
	order->npieces = read_pieces(s, &order->pieces);
	return true;
}
