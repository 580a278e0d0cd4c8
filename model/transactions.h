/*
 * transactions.h
 *		Transactions: what they do, and how they and their savepoints end.
 */
#ifndef MODEL_TRANSACTIONS_H
#define MODEL_TRANSACTIONS_H

#include "model.h"

extern void announce(Txn *t);
extern void run_transactions(Txn *t);

#endif							/* MODEL_TRANSACTIONS_H */
