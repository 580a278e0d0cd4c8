/*
 * relation.c
 *		Opening and locking seckill.items, seckill.orders and their indexes.
 *
 * No other file opens or locks them, so this one alone knows which relations
 * hold an item and its orders.  A table is opened before the snapshot is taken
 * that reads it: a TRUNCATE that ran before we had the lock is then seen.  A
 * caller that opens a relation also closes it, and there releases the lock or
 * keeps it until the end of the transaction.
 *
 * Locks that are kept are taken in the order items, orders, as TRUNCATE of
 * both tables takes them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "storage/lmgr.h"

#include "base/catalog.h"
#include "table/relation.h"
#include "xact/lock.h"

/*
 * Open seckill.items for reading.  What this transaction has written so far is
 * visible to a snapshot that is taken after that.
 */
Relation
seckill_relation_open_items(void)
{
	CommandCounterIncrement();
	return table_open(seckill_catalog()->items, AccessShareLock);
}

/*
 * Open seckill.items for locking rows, or for writing, as a SELECT FOR UPDATE
 * and an UPDATE do; the caller keeps the lock until the end of the transaction.
 * What this transaction has written so far is visible to a snapshot that is
 * taken after that.
 */
Relation
seckill_relation_open_items_to_lock(void)
{
	CommandCounterIncrement();
	return table_open(seckill_catalog()->items, RowShareLock);
}

Relation
seckill_relation_open_items_to_write(void)
{
	CommandCounterIncrement();
	return table_open(seckill_catalog()->items, RowExclusiveLock);
}

/* Open seckill.items for reading while it, or what depends on it, is dropped. */
Relation
seckill_relation_open_dropped(Oid items)
{
	return table_open(items, AccessShareLock);
}

/* Open the primary key of seckill.items for reading. */
Relation
seckill_relation_open_items_key(void)
{
	return index_open(seckill_catalog()->items_key, AccessShareLock);
}

/*
 * Open seckill.orders for reading.  What this transaction has written so far
 * is visible to a snapshot that is taken after that.
 */
Relation
seckill_relation_open_orders(void)
{
	CommandCounterIncrement();
	return table_open(seckill_catalog()->orders, AccessShareLock);
}

/*
 * Open seckill.orders for writing; the caller keeps the lock until the end of
 * the transaction.
 */
Relation
seckill_relation_open_orders_to_write(void)
{
	return table_open(seckill_catalog()->orders, RowExclusiveLock);
}

/*
 * Open an index of seckill.orders for reading: (item_id, request_id), or
 * (item_id, user_id, created_at) of the orders that count for a limit.
 */
Relation
seckill_relation_open_orders_index(bool by_request)
{
	const SeckillCatalog *c = seckill_catalog();

	return index_open(by_request ? c->orders_request : c->orders_user,
					  AccessShareLock);
}

/*
 * Open an index of seckill.orders, which is open, for writing; the caller keeps
 * the lock or releases it.
 */
Relation
seckill_relation_open_index_to_write(Oid index)
{
	return index_open(index, RowExclusiveLock);
}

/* Open the index of seckill.orders by unit for reading. */
Relation
seckill_relation_open_orders_unit(void)
{
	return index_open(seckill_catalog()->orders_unit, AccessShareLock);
}

/*
 * Open seckill.units for reading.  What this transaction has written so far is
 * visible to a snapshot that is taken after that.
 */
Relation
seckill_relation_open_units(void)
{
	CommandCounterIncrement();
	return table_open(seckill_catalog()->units, AccessShareLock);
}

/* Open the primary key of seckill.units for reading. */
Relation
seckill_relation_open_units_key(void)
{
	return index_open(seckill_catalog()->units_key, AccessShareLock);
}

/*
 * Open seckill.seats for reading.  What this transaction has written so far is
 * visible to a snapshot that is taken after that.
 */
Relation
seckill_relation_open_seats(void)
{
	CommandCounterIncrement();
	return table_open(seckill_catalog()->seats, AccessShareLock);
}

/* Open the primary key of seckill.seats for reading. */
Relation
seckill_relation_open_seats_key(void)
{
	return index_open(seckill_catalog()->seats_key, AccessShareLock);
}

/*
 * Lock seckill.orders and seckill.seats for writing until the end of the
 * transaction, in the order in which TRUNCATE of all tables locks them.
 */
void
seckill_relation_lock_seats(void)
{
	LockRelationOid(seckill_catalog()->orders, RowExclusiveLock);
	LockRelationOid(seckill_catalog()->seats, RowExclusiveLock);
}

/* Open the index of seckill.units by code for reading. */
Relation
seckill_relation_open_units_code(void)
{
	return index_open(seckill_catalog()->units_code, AccessShareLock);
}

/* Lock both tables for reading until the end of the transaction. */
void
seckill_relation_lock_to_read(void)
{
	LockRelationOid(seckill_catalog()->items, AccessShareLock);
	LockRelationOid(seckill_catalog()->orders, AccessShareLock);
}

/*
 * Lock seckill.items for writing until the end of the transaction.  A
 * transaction that writes orders before it writes items calls this first, to
 * keep the order of the locks.
 */
void
seckill_relation_lock_items(void)
{
	LockRelationOid(seckill_catalog()->items, RowExclusiveLock);
}

/* Does this transaction hold a lock on one of the tables, in any mode? */
bool
seckill_relation_locked_by_me(void)
{
	return seckill_lock_has_table(seckill_catalog()->items) ||
		seckill_lock_has_table(seckill_catalog()->orders);
}
