/*
 * item_direct.h
 *		Locks and writes rows of items without SQL, where nothing but the
 *		extension's own objects is on the table.
 */
#ifndef SECKILL_TABLE_ITEM_DIRECT_H
#define SECKILL_TABLE_ITEM_DIRECT_H

#include "nodes/lockoptions.h"
#include "nodes/nodes.h"

#include "seckill.h"
#include "table/direct.h"

#define ANY_VERSION		(-1)

/*
 * A change of a row.  It is made if the row is in the state below, and has the
 * units that the change takes.
 */
typedef struct ItemChange
{
	int64		item_id;
	int32		stock;			/* units that the stock gets; negative: loses */
	int32		leased;			/* the same of the lease */
	int64		lease_id;		/* of a lease that gets units, which is open or
								 * opens; 0: not changed */
	int64		seal;			/* with it: of a row without units supplied */
	int64		version;		/* the row must have it, or ANY_VERSION */
	bool		must_be_here;	/* the item is sold here */
} ItemChange;

extern bool seckill_items_lock_direct(const int64 *item_ids, int n,
									  LockWaitPolicy policy, ItemRow *rows,
									  bool *locked);
extern DirectResult seckill_item_change_direct(const ItemChange *change);

#endif							/* SECKILL_TABLE_ITEM_DIRECT_H */
