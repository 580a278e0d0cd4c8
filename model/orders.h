/*
 * orders.h
 *		What else happens to items and orders: prewarm, recall, restock, TRUNCATE,
 *		cancel, expiry and late payment.
 */
#ifndef MODEL_ORDERS_H
#define MODEL_ORDERS_H

#include "model.h"

extern void prewarm(Txn *t, int item);
extern void recall(Txn *t, int item);
extern void restock(Txn *t, int item);
extern void truncate_tables(Txn *t);
extern void end_order(Txn *t, int k, bool expire);
extern void pay_late(Txn *t, int k);
extern void tell_order(Txn *t, int k);
extern void archive_order(Txn *t, int k);

#endif							/* MODEL_ORDERS_H */
