/*
 * place.h
 *		Where an item is sold.
 */
#ifndef SECKILL_SALE_PLACE_H
#define SECKILL_SALE_PLACE_H

#include "seckill.h"

extern void seckill_place_read(int64 item_id);
extern void seckill_place_require(int64 item_id);
extern void seckill_place_enter(int64 item_id);
extern bool seckill_place_try_enter(int64 item_id);
extern bool seckill_place_enter_to_buy(Purchase *p);
extern ItemPlace seckill_place_of(const char *name);
extern void seckill_place_set(int64 item_id, ItemPlace from, ItemPlace to);

#endif							/* SECKILL_SALE_PLACE_H */
