/*
 * order_scan.h
 *		Orders by user or by request, read from an index.
 */
#ifndef SECKILL_TABLE_ORDER_SCAN_H
#define SECKILL_TABLE_ORDER_SCAN_H

#include "access/transam.h"
#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "base/compat.h"
#include "base/seat_bits.h"

/* The order that a request has made. */
typedef struct OrderOfRequest
{
	int64		order_id;
	int64		user_id;
	int32		quantity;
	TransactionId xmin;			/* the transaction that wrote it */
	SeatPiece  *pieces;			/* of a booking */
	int			npieces;		/* 0: it has units */
} OrderOfRequest;

typedef struct OrderScan OrderScan;

extern OrderScan *seckill_order_scan_begin(bool by_request);
extern void seckill_order_scan_end(OrderScan *s);
extern int64 seckill_order_scan_bought(OrderScan *s, int64 item_id,
									   int64 user_id, TimestampTz from,
									   TimestampTz to);
extern bool seckill_order_scan_requested(OrderScan *s, int64 item_id,
										 const pg_uuid_t *request_id,
										 OrderOfRequest *order);

#endif							/* SECKILL_TABLE_ORDER_SCAN_H */
