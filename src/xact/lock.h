/*
 * lock.h
 *		Heavyweight locks of the current transaction, and waits for others.
 */
#ifndef SECKILL_XACT_LOCK_H
#define SECKILL_XACT_LOCK_H

#include "access/transam.h"
#include "storage/lock.h"

/*
 * Classes of our advisory locks, the fourth field of the tag.  Advisory locks
 * of the application are of class 1 and 2.
 */
#define SECKILL_LOCK_ITEM		0x5EC	/* item lock, see sale/item_lock.c */
#define SECKILL_LOCK_REFILL		0x5ED	/* role of the refiller, sale/refill.c */
#define SECKILL_LOCK_USER		0x5EE	/* purchases of one user,
										 * sale/limits.c */
#define SECKILL_LOCK_REQUEST	0x5EF	/* purchases of one request, likewise */
#define SECKILL_LOCK_PLACE		0x5F0	/* where an item is sold, sale/place.c */
#define SECKILL_LOCK_ARRIVAL	0x5F1	/* copies of an item that arrive here,
										 * seckill_cluster--1.0.sql */
#define SECKILL_LOCK_LEGS		0x5F2	/* of item 0: legs against new seats,
										 * sale/item_legs.c */
#define SECKILL_LOCK_BATCH		0x5F3	/* of item 0: users and requests that a
										 * batch claims, xact/hash_lock.c */

extern void seckill_lock_tag(LOCKTAG *tag, int64 item_id, uint16 class);
extern bool seckill_lock_acquire(const LOCKTAG *tag, LOCKMODE mode, bool may_wait);
extern bool seckill_lock_is_mine(int64 item_id, uint16 class);
extern void seckill_lock_release(const LOCKTAG *tag, LOCKMODE mode);
extern void seckill_lock_await_xact(TransactionId xid);
extern bool seckill_lock_xact_has_ended(TransactionId xid);
extern bool seckill_lock_has_table(Oid table);
extern bool seckill_lock_database_is_taken(void);

#endif							/* SECKILL_XACT_LOCK_H */
