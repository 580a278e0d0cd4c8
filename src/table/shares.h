/*
 * shares.h
 *		Exchanges of units between nodes, of the extension seckill_cluster.
 */
#ifndef SECKILL_TABLE_SHARES_H
#define SECKILL_TABLE_SHARES_H

#include "base/number_set.h"
#include "seckill.h"

extern int32 seckill_shares_exchange(int64 item_id, int64 wanted,
									 int32 smallest);
extern Datum seckill_shares_numbers(int64 item_id, const SplitNodes *split,
									int64 n, bool latest);
extern NumberSet *seckill_shares_elsewhere(int64 item_id);
extern int	seckill_shares_end_orders(int64 item_id, const NumberSet *own);
extern NumberSet *seckill_shares_end_releases(int64 item_id,
											  const NumberSet *own);
extern void seckill_shares_forget(int64 item_id, const NumberSet *numbers);

#endif							/* SECKILL_TABLE_SHARES_H */
