/*
 * tables.h
 *		The tables as a transaction sees and changes them: src/table/ of the
 *		extension.
 */
#ifndef MODEL_TABLES_H
#define MODEL_TABLES_H

#include "model.h"

extern void relation_lock_items(Txn *t);
extern ItemRow item_row_seen(const Txn *t, int item);
extern void item_write(Txn *t, int item, ItemRow *row, bool announce);
extern ItemRow item_lock_row(Txn *t, int item);
extern ItemRow item_read_latest(Txn *t, int item);
extern void orders_insert(Txn *t, int item, int32 units, const Taken *taken);
extern Order order_now(const Txn *t, int k);
extern void change_order(Txn *t, int k, const Order *now);
extern int32 orders_sold_on_lease(const Txn *t, int item, int64 lease_id);
extern NumberSet unsold_on_lease(const Txn *t, int item, const ItemRow *row);

#endif							/* MODEL_TABLES_H */
