/*
 * tables.h
 *		The tables as a transaction sees and changes them: src/ledger.c of the
 *		extension.
 */
#ifndef MODEL_TABLES_H
#define MODEL_TABLES_H

#include "model.h"

extern void open_items(Txn *t);
extern ItemRow read_row(const Txn *t, int item);
extern void write_row(Txn *t, int item, ItemRow *row, bool announce);
extern ItemRow lock_row(Txn *t, int item);
extern ItemRow peek(Txn *t, int item);
extern void write_order(Txn *t, int item, int32 units, const Taken *taken);
extern Order order_now(const Txn *t, int k);
extern void change_order(Txn *t, int k, const Order *now);
extern int32 sold_on_lease(const Txn *t, int item, int64 lease_id);
extern NumberSet unsold_on_lease(const Txn *t, int item, const ItemRow *row);

#endif							/* MODEL_TABLES_H */
