/*
 * list.h
 *		Calls for many: lists of purchases.
 */
#ifndef MODEL_LIST_H
#define MODEL_LIST_H

#include "model.h"

/* Units that the lists of one call buy at most. */
#define LISTS_UNITS		8

extern void buy_lists(Txn *t);

#endif							/* MODEL_LIST_H */
