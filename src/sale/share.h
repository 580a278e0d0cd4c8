/*
 * share.h
 *		The share that this node has of an item that is split over nodes.
 */
#ifndef SECKILL_SALE_SHARE_H
#define SECKILL_SALE_SHARE_H

#include "base/clock.h"
#include "base/number_set.h"
#include "seckill.h"

extern int	seckill_share_node_of(const SplitNodes *split, int64 user_id);
extern bool seckill_share_is_elsewhere(const Purchase *p);
extern void seckill_share_check_user(int64 item_id, const SplitNodes *split,
									 int64 user_id);
extern bool seckill_share_is_sold_out(CacheEntry *entry);
extern bool seckill_share_may_sell(int64 item_id, CacheEntry *entry);
extern int	seckill_share_keep_own(Purchase **list, int n);
extern bool seckill_share_await_silence(const Purchase *p, ClockTime until);
extern int	seckill_share_keep_open(Purchase **list, int n, ClockTime made,
									ClockTime began);
extern bool seckill_share_ask(Purchase **list, int n, ClockTime until);
extern void seckill_share_fetch(const Purchase *p);
extern SeckillOutcome seckill_share_defer(const Purchase *p, ClockTime began);
extern void seckill_share_check_sold_out(const Purchase *p, ClockTime made,
										 ClockTime began);
extern bool seckill_share_is_bound(int64 item_id);
extern void seckill_share_await_promises(int64 item_id, const SaleRules *rules);
extern void seckill_share_check_home(int64 item_id, const SaleRules *rules);
extern void seckill_share_check_gathered(int64 item_id, const SaleRules *rules);
extern NumberSet *seckill_share_numbers(int64 item_id, const ItemRow *row);
extern int64 seckill_share_last_number(int64 item_id, const ItemRow *row);

#endif							/* SECKILL_SALE_SHARE_H */
