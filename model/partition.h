/*
 * partition.h
 *		The law that each number of an item is in exactly one place.
 */
#ifndef MODEL_PARTITION_H
#define MODEL_PARTITION_H

#include "model.h"

extern const char *partition_of_tables(int item, int32 unsold_on_lease);
extern const char *partition_of_entry(const Entry *entry);
extern const char *hand_out(const Order *before, const Order *now);

#endif							/* MODEL_PARTITION_H */
