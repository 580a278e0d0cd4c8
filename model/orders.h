/*
 * orders.h
 *		Changes of items and orders other than purchases: prewarm, recall,
 *		restock, TRUNCATE, confirmation, cancellation, expiry, late payment,
 *		deletion.
 */
#ifndef MODEL_ORDERS_H
#define MODEL_ORDERS_H

#include "model.h"

extern void lease_prewarm(Txn *t, int item);
extern void lease_recall(Txn *t, int item);
extern void item_restock(Txn *t, int item);
extern void truncate_tables(Txn *t);
extern void order_end(Txn *t, int k, bool expire);
extern void order_confirm_late(Txn *t, int k);
extern void order_confirm(Txn *t, int k);
extern void order_archive(Txn *t, int k);

#endif							/* MODEL_ORDERS_H */
