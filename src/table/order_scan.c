/*
 * order_scan.c
 *		TODO
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/columns.h"
#include "base/compat.h"
#include "table/order_scan.h"

/*
 * What is bought by a user or asked for by a request, of all committed orders
 * and ours, straight from an index of (item_id, key).
 */

struct OrderScan
{
	bool		by_request;
	Relation	orders;
	Relation	index;
	Snapshot	snapshot;
	TupleTableSlot *slot;
	IndexScanDesc scan;
};

/*
 * Open a scan of the orders by request or by user, for any number of keys.  It
 * sees what is committed now.
 */
OrderScan *
seckill_order_scan_begin(bool by_request)
{
	OrderScan  *s = palloc(sizeof(OrderScan));

	CommandCounterIncrement();
	s->by_request = by_request;
	s->orders = table_open(seckill_catalog()->orders, AccessShareLock);
	s->index = index_open(by_request ? seckill_catalog()->orders_request :
						  seckill_catalog()->orders_user, AccessShareLock);
	s->snapshot = RegisterSnapshot(GetLatestSnapshot());
	s->slot = table_slot_create(s->orders, NULL);
	s->scan = SeckillIndexBeginScan(s->orders, s->index, s->snapshot, 2);
	return s;
}

/* Look for a key. */
static void
rescan(OrderScan *s, int64 item_id, Datum key)
{
	RegProcedure equal = s->by_request ? F_UUID_EQ : F_INT8EQ;
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, equal, key);
	index_rescan(s->scan, keys, 2, NULL, 0);
}

/* A column of the order that was found; none of those read is NULL. */
static Datum
order_column(OrderScan *s, int column)
{
	bool		isnull;

	return slot_getattr(s->slot, column, &isnull);
}

static bool
next_order(OrderScan *s)
{
	return index_getnext_slot(s->scan, ForwardScanDirection, s->slot);
}

void
seckill_order_scan_end(OrderScan *s)
{
	index_endscan(s->scan);
	ExecDropSingleTupleTableSlot(s->slot);
	UnregisterSnapshot(s->snapshot);
	index_close(s->index, AccessShareLock);
	table_close(s->orders, AccessShareLock);
	pfree(s);
}

/* Units of an item that a user has in orders that count for the limit. */
int64
seckill_order_scan_bought(OrderScan *s, int64 item_id, int64 user_id)
{
	int64		bought = 0;

	rescan(s, item_id, Int64GetDatum(user_id));
	while (next_order(s))
		bought += DatumGetInt32(order_column(s, ORDER_QUANTITY));
	return bought;
}

/*
 * Who wrote the order as it was found.  A frozen one is of long ago: its status
 * may not be kept any more.
 */
static TransactionId
order_xmin(OrderScan *s)
{
	return HeapTupleHeaderGetXmin(ExecFetchSlotHeapTuple(s->slot, false,
														 NULL)->t_data);
}

/* The order that a request has made, if any. */
bool
seckill_order_scan_requested(OrderScan *s, int64 item_id,
							 const pg_uuid_t *request, OrderOfRequest *order)
{
	rescan(s, item_id, UUIDPGetDatum(request));
	if (!next_order(s))
		return false;
	order->order_id = DatumGetInt64(order_column(s, ORDER_ORDER_ID));
	order->user_id = DatumGetInt64(order_column(s, ORDER_USER_ID));
	order->quantity = DatumGetInt32(order_column(s, ORDER_QUANTITY));
	order->xmin = order_xmin(s);
	return true;
}
