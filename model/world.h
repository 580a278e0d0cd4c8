/*
 * world.h
 *		State that simulated transactions share: the committed tables, locks,
 *		shared memory, and the transactions themselves.
 */
#ifndef MODEL_WORLD_H
#define MODEL_WORLD_H

#include "model.h"

extern int	ntxns;
extern Mutation mutation;
extern ItemRow table[ITEMS];
extern int32 supplied[ITEMS];
extern Order orders[ORDERS];
extern int	norders;
extern NumberSet told[ITEMS];
extern NumberSet refunded[ITEMS];
extern NumberSet archived[ITEMS];
extern Lock row_locks[ITEMS];
extern Lock item_locks[ITEMS];
extern Lock refill_locks[ITEMS];
extern Lock order_locks[ORDERS];
extern Lock table_lock;
extern Entry entries[ITEMS];
extern int	nentries;
extern int	nrings;
extern Txn	txns[MAX_TXNS];
extern Xid	xids[XIDS];
extern int	nxids;
extern uint64 counts[COUNTS];
extern bool draining;
extern Entry *entry_of(int item);

#endif							/* MODEL_WORLD_H */
