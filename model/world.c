/*
 * world.c
 *		State that simulated transactions share: the committed tables, locks,
 *		shared memory, and the transactions themselves.
 */
#include "world.h"

int			ntxns = 6;
Mutation	mutation = SOUND;

/* the tables, as committed */
ItemRow		table[ITEMS];
int32		supplied[ITEMS];
Order		orders[ORDERS];
int			norders;

/* events of numbers, as committed */
NumberSet	told[ITEMS];		/* codes revealed to buyers */
NumberSet	refunded[ITEMS];	/* amounts reported by a close */
NumberSet	archived[ITEMS];	/* withdrawn with their orders */

/* locks */
Lock		row_locks[ITEMS];
Lock		item_locks[ITEMS];
Lock		refill_locks[ITEMS];
Lock		order_locks[ORDERS];
Lock		table_lock;			/* exclusive */

/* shared memory */
Entry		entries[ITEMS];
int			nentries;
int			nrings;				/* entries that can have a ring at a time */

/* transactions */
Txn			txns[MAX_TXNS];
Xid			xids[XIDS];
int			nxids;

uint64		counts[COUNTS];
bool		draining;			/* the end of a round: no crash, no error */

/* The entry of an item, or NULL. */
Entry *
entry_of(int item)
{
	for (int i = 0; i < nentries; i++)
		if (entries[i].live && entries[i].item == item)
			return &entries[i];
	return NULL;
}
