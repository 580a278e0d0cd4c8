/*
 * holds.h
 *		Units of the cache that a transaction has on hold: src/xact/hold.c of
 *		the extension.
 */
#ifndef MODEL_HOLDS_H
#define MODEL_HOLDS_H

#include "model.h"

extern Hold *find_hold(Txn *t, Entry *entry, int level, int64 lease_id);
extern Hold *get_hold(Txn *t, Entry *entry, int64 lease_id);
extern void publish(Hold *hold);
extern void drop_hold(Txn *t, Hold *hold);
extern bool hold_has_slot(const Txn *t);
extern OwnUnits hold_own_units(const Txn *t, const Entry *entry);
extern void credit_numbers(Txn *t, Entry *entry, int64 lease_id,
						   NumberSet numbers);
extern int32 take_between(Txn *t, Entry *entry, int32 min, int32 max,
						  Taken *taken);
extern bool hold_take(Txn *t, Entry *entry, int32 quantity, Taken *taken);
extern int32 hold_take_credit(Txn *t, Entry *entry, Taken *taken);
extern void hold_return(Txn *t, Entry *entry, const Taken *taken, int32 units);
extern void hold_numbers_abort_level(Txn *t);
extern void hold_numbers_commit_level(Txn *t);
extern void abort_hold(Txn *t, Hold *hold);
extern void commit_hold(Txn *t, Hold *hold);

#endif							/* MODEL_HOLDS_H */
