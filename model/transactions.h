/*
 * transactions.h
 *		Transactions: their operations, commit, abort and savepoints.
 */
#ifndef MODEL_TRANSACTIONS_H
#define MODEL_TRANSACTIONS_H

#include "model.h"

extern void change_announce(Txn *t);
extern void run_transactions(Txn *t);

#endif							/* MODEL_TRANSACTIONS_H */
