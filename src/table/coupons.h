/*
 * coupons.h
 *		Statements on orders whose units have codes: redeem one, release it.
 */
#ifndef SECKILL_TABLE_COUPONS_H
#define SECKILL_TABLE_COUPONS_H

#include "datatype/timestamp.h"

#include "seckill.h"

/* What the row of a locked order says of its code. */
typedef struct Coupon
{
	int64		order_id;
	OrderState	state;
	bool		redeemed;
	bool		was_pending;	/* before it was redeemed */
	TimestampTz pay_by;			/* DT_NOEND if NULL */
} Coupon;

extern bool seckill_coupon_lock_told(int64 item_id, int32 unit, int64 user_id,
									 bool tells_pending, Coupon *coupon);
extern void seckill_coupon_read(int64 item_id, int64 order_id,
								Coupon *coupon);
extern void seckill_coupon_redeem(int64 item_id, int64 order_id);
extern void seckill_coupon_note_payment(int64 item_id, int64 order_id);
extern void seckill_coupon_release(int64 item_id, const Coupon *coupon,
								   OrderState to);

#endif							/* SECKILL_TABLE_COUPONS_H */
