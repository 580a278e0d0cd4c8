/*
 * shares.h
 *		Exchanges of units between nodes, of the extension seckill_cluster.
 */
#ifndef SECKILL_TABLE_SHARES_H
#define SECKILL_TABLE_SHARES_H

extern int32 seckill_shares_exchange(int64 item_id, int64 wanted,
									 int32 smallest);

#endif							/* SECKILL_TABLE_SHARES_H */
