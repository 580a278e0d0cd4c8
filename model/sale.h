/*
 * sale.h
 *		Purchases: src/sale/rules.c, modes.c and decide.c of the extension.
 */
#ifndef MODEL_SALE_H
#define MODEL_SALE_H

#include "model.h"

typedef enum Outcome
{
	SOLD, SOLD_OUT, CONFLICT
} Outcome;

extern Outcome decide(Txn *t, ItemRow *row, Taken *taken);
extern bool orders_insert_fenced(Txn *t, const Taken *taken);
extern void drop_stale_lease(Txn *t, const Taken *taken);
extern bool rules_check(Txn *t);
extern void call_begin(Txn *t, int item, int32 quantity);
extern void call_end(Txn *t, bool sold_out);
extern Outcome buy(Txn *t, int item, int32 quantity);

#endif							/* MODEL_SALE_H */
