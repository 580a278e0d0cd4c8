/*
 * routes.h
 *		Where Citus sends the calls on an item, of the extension seckill_cluster.
 */
#ifndef SECKILL_TABLE_ROUTES_H
#define SECKILL_TABLE_ROUTES_H

extern void seckill_routes_check(int64 item_id);

#endif							/* SECKILL_TABLE_ROUTES_H */
