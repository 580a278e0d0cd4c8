/*
 * coupon.h
 *		Coupons: the code of a unit is redeemed by its buyer, and released.
 */
#ifndef SECKILL_SCENARIO_COUPON_H
#define SECKILL_SCENARIO_COUPON_H

#include "seckill.h"

extern RedeemOutcome seckill_coupon_try(int64 item_id, const text *code,
										int64 user_id, int64 *order_id,
										OrderState *state);
extern OrderState seckill_coupon_give_back(int64 item_id, int64 order_id);

#endif							/* SECKILL_SCENARIO_COUPON_H */
