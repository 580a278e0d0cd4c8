/*
 * index_scan.c
 *		Scans of a table by an index, by default under the latest snapshot.
 *
 * That sees all committed rows and our own, at any isolation level.  A scan
 * needs no SPI, checks no rights, and gives up its locks on table and index at
 * its end.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "table/index_scan.h"

/* Begin a scan of an open table; ends with seckill_scan_end(). */
void
seckill_scan_begin(TableScan *s, Relation table, Relation index, int nkeys)
{
	seckill_scan_begin_under(s, table, index, nkeys, GetLatestSnapshot());
}

/* The same under another snapshot. */
void
seckill_scan_begin_under(TableScan *s, Relation table, Relation index,
						 int nkeys, Snapshot snapshot)
{
	s->table = table;
	s->index = index;
	s->snapshot = RegisterSnapshot(snapshot);
	s->slot = table_slot_create(table, NULL);
	s->scan = SeckillIndexBeginScan(table, index, s->snapshot, nkeys);
}

/* Start a look-up; the rows come from seckill_scan_next(). */
void
seckill_scan_find(TableScan *s, ScanKeyData *keys, int nkeys)
{
	index_rescan(s->scan, keys, nkeys, NULL, 0);
}

/* Put the next row into the slot; false if there is none. */
bool
seckill_scan_next(TableScan *s)
{
	CHECK_FOR_INTERRUPTS();
	return index_getnext_slot(s->scan, ForwardScanDirection, s->slot);
}

/* End the scan, and close table and index. */
void
seckill_scan_end(TableScan *s)
{
	index_endscan(s->scan);
	ExecDropSingleTupleTableSlot(s->slot);
	UnregisterSnapshot(s->snapshot);
	index_close(s->index, AccessShareLock);
	table_close(s->table, AccessShareLock);
}
