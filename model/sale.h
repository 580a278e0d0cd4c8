/*
 * sale.h
 *		Purchases: src/modes.c and src/batch.c of the extension.
 */
#ifndef MODEL_SALE_H
#define MODEL_SALE_H

#include "model.h"

typedef enum Outcome
{
	SOLD, SOLD_OUT, CONFLICT
} Outcome;

extern Outcome sale_decide(Txn *t, ItemRow *row, Taken *taken);
extern void begin_call(Txn *t, int item, int32 quantity);
extern void end_call(Txn *t, bool sold_out);
extern Outcome buy(Txn *t, int item, int32 quantity);

#endif							/* MODEL_SALE_H */
