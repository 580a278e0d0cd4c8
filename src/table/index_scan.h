/*
 * index_scan.h
 *		Scans of a table by an index.
 */
#ifndef SECKILL_TABLE_INDEX_SCAN_H
#define SECKILL_TABLE_INDEX_SCAN_H

#include "access/genam.h"
#include "executor/tuptable.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

typedef struct TableScan
{
	Relation	table;
	Relation	index;
	Snapshot	snapshot;
	TupleTableSlot *slot;		/* the row that was found */
	IndexScanDesc scan;
} TableScan;

extern void seckill_scan_begin(TableScan *s, Relation table, Relation index,
							   int nkeys);
extern void seckill_scan_begin_under(TableScan *s, Relation table,
									 Relation index, int nkeys,
									 Snapshot snapshot);
extern void seckill_scan_find(TableScan *s, ScanKeyData *keys, int nkeys);
extern bool seckill_scan_next(TableScan *s);
extern void seckill_scan_end(TableScan *s);

#endif							/* SECKILL_TABLE_INDEX_SCAN_H */
