/*
 * item_lock.h
 *		The item lock: a first-come-first-served queue for an item's row.
 */
#ifndef SECKILL_SALE_ITEM_LOCK_H
#define SECKILL_SALE_ITEM_LOCK_H

extern bool seckill_item_lock_has_row(int64 item_id);
extern void seckill_item_lock_acquire(int64 item_id);
extern void seckill_item_lock_queue(int64 item_id);

#endif							/* SECKILL_SALE_ITEM_LOCK_H */
