/*
 * relation.c
 *		TODO
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "storage/lmgr.h"

#include "base/catalog.h"
#include "table/relation.h"
#include "xact/lock.h"

/*
 * seckill.items.  Functions that read return false if there is no such item.
 */

/*
 * Open seckill.items and lock it against TRUNCATE and the like until commit.
 * A snapshot to read it with must be taken after that.
 */
Relation
seckill_relation_open_items(void)
{
	CommandCounterIncrement();
	return table_open(seckill_catalog()->items, AccessShareLock);
}

/*
 * For transactions that change orders first: TRUNCATE of both tables locks them
 * in this order, too.
 */
void
seckill_relation_lock_items(void)
{
	LockRelationOid(seckill_catalog()->items, RowExclusiveLock);
}

/* Does this transaction have one of the tables locked? */
bool
seckill_relation_locked_by_me(void)
{
	return seckill_lock_has_table(seckill_catalog()->items) ||
		seckill_lock_has_table(seckill_catalog()->orders);
}
