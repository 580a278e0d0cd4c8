/*
 * lease.h
 *		Moving units between row and cache: src/sale/settle.c, refill.c,
 *		lease.c, await.c and item_lock.c of the extension.
 */
#ifndef MODEL_LEASE_H
#define MODEL_LEASE_H

#include "model.h"

extern void settle(Txn *t, int item, ItemRow *row);
extern void lease_move_to_cache(Txn *t, int item, ItemRow *row, int32 units);
extern int32 lease_size(const Txn *t, const ItemRow *row, int32 units);
extern void item_lock_acquire(Txn *t, int item);
extern void await_holder(Txn *t);
extern UnitsVerdict await_judge(Txn *t, const ItemRow *row, uint64 generation);
extern uint64 await_generation(Txn *t);
extern bool refill_obtain(Txn *t, Taken *taken);
extern void refill_ahead(Txn *t);

#endif							/* MODEL_LEASE_H */
