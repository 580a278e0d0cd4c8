/*
 * numbered.h
 *		Numbers of an item that are made and withdrawn.
 */
#ifndef MODEL_NUMBERED_H
#define MODEL_NUMBERED_H

#include "model.h"

extern ItemRow new_item(int most);
extern bool make_numbers(ItemRow *row, int32 units);
extern void forget_tables(void);
extern void archive_units(Txn *t, ItemRow *row, const Order *order);
extern void close_item(Txn *t, int item);

#endif							/* MODEL_NUMBERED_H */
