/*
 * numbered.h
 *		Making and withdrawing the numbers of an item.
 */
#ifndef MODEL_NUMBERED_H
#define MODEL_NUMBERED_H

#include "model.h"

extern ItemRow new_item(int most);
extern bool make_numbers(ItemRow *row, int32 units);
extern void forget_tables(void);
extern void archive_units(Txn *t, ItemRow *row, const Order *order);
extern void item_close(Txn *t, int item);

#endif							/* MODEL_NUMBERED_H */
