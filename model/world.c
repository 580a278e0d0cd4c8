/*
 * world.c
 *		What simulated transactions share: the committed tables, locks, shared
 *		memory and each other.
 */
#include "world.h"

int			ntxns = 6;
Mutation	mutation = SOUND;

/* the tables, as committed */
ItemRow		table[ITEMS];
int32		supplied[ITEMS];
Order		orders[ORDERS];
int			norders;

/* what was done with numbers, as committed */
NumberSet	told[ITEMS];		/* codes, to buyers */
NumberSet	refunded[ITEMS];	/* amounts, by a close */
NumberSet	archived[ITEMS];	/* with their orders */

/* locks */
Lock		row_locks[ITEMS];
Lock		lines[ITEMS];
Lock		roles[ITEMS];
Lock		order_locks[ORDERS];
Lock		table_lock;			/* exclusively */

/* shared memory */
Entry		entries[ITEMS];
int			nentries;

/* transactions */
Txn			txns[MAX_TXNS];
Xid			xids[XIDS];
int			nxids;

uint64		counts[COUNTS];
bool		draining;			/* the end of a round: no crash, no error */

Entry *
entry_of(int item)
{
	for (int i = 0; i < nentries; i++)
		if (entries[i].live && entries[i].item == item)
			return &entries[i];
	return NULL;
}
