/*
 * lease.h
 *		Units between row and cache: src/lease.c of the extension.
 */
#ifndef MODEL_LEASE_H
#define MODEL_LEASE_H

#include "model.h"

extern void lease_settle(Txn *t, int item, ItemRow *row);
extern void lease_units(Txn *t, int item, ItemRow *row, int32 units);
extern int32 lease_at_most(const Txn *t, const ItemRow *row, int32 units);
extern void line_up(Txn *t, int item);
extern void await_holder(Txn *t);
extern UnitsVerdict lease_judge(Txn *t, const ItemRow *row, uint64 generation);
extern uint64 read_generation(Txn *t);
extern bool lease_obtain(Txn *t, Taken *taken);
extern void top_up(Txn *t);

#endif							/* MODEL_LEASE_H */
