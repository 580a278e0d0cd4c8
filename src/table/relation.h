/*
 * relation.h
 *		Opening and locking seckill.items, seckill.orders and their indexes.
 */
#ifndef SECKILL_TABLE_RELATION_H
#define SECKILL_TABLE_RELATION_H

#include "utils/relcache.h"

extern Relation seckill_relation_open_items(void);
extern Relation seckill_relation_open_items_to_lock(void);
extern Relation seckill_relation_open_items_to_write(void);
extern Relation seckill_relation_open_dropped(Oid items);
extern Relation seckill_relation_open_items_key(void);
extern Relation seckill_relation_open_orders(void);
extern Relation seckill_relation_open_orders_to_write(void);
extern Relation seckill_relation_open_orders_index(bool by_request);
extern Relation seckill_relation_open_index_to_write(Oid index);
extern Relation seckill_relation_open_orders_unit(void);
extern Relation seckill_relation_open_units(void);
extern Relation seckill_relation_open_units_key(void);
extern Relation seckill_relation_open_units_code(void);
extern Relation seckill_relation_open_seats(void);
extern Relation seckill_relation_open_seats_key(void);
extern void seckill_relation_lock_seats(void);
extern void seckill_relation_lock_to_read(void);
extern void seckill_relation_lock_items(void);
extern bool seckill_relation_locked_by_me(void);

#endif							/* SECKILL_TABLE_RELATION_H */
