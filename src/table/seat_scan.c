/*
 * seat_scan.c
 *		The seats of an item, read from the table.
 *
 * It reads the primary key under the latest snapshot: all committed rows and
 * our own, at any isolation level.  It needs no SPI, checks no rights, and
 * gives up its locks on table and index at its end.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "utils/fmgroids.h"

#include "base/columns.h"
#include "base/fault.h"
#include "table/index_scan.h"
#include "table/relation.h"
#include "table/seat_scan.h"

/* A row, as far as a map needs it. */
typedef struct SeatRow
{
	int32		seat;
	int32		block;
	int32		car;
	uint64		taken;
} SeatRow;

typedef struct SeatRows
{
	SeatRow    *rows;
	int			n;
	int			max;
} SeatRows;

/* Add the row in the slot. */
static void
add_row(SeatRows *read, TupleTableSlot *slot)
{
	SeatRow    *row;

	if (read->n == read->max)
	{
		read->max *= 2;
		read->rows = repalloc_huge(read->rows, read->max * sizeof(SeatRow));
	}
	slot_getsomeattrs(slot, SEAT_COLUMNS);
	row = &read->rows[read->n++];
	row->seat = DatumGetInt32(slot->tts_values[SEAT_SEAT - 1]);
	row->block = DatumGetInt32(slot->tts_values[SEAT_BLOCK - 1]);
	row->car = DatumGetInt32(slot->tts_values[SEAT_CAR - 1]);
	row->taken = (uint64) DatumGetInt64(slot->tts_values[SEAT_TAKEN - 1]);
}

/* Read the rows of an item, ascending by seat. */
static void
read_rows(int64 item_id, SeatRows *read)
{
	TableScan	s;
	Relation	seats = seckill_relation_open_seats();
	ScanKeyData equal;

	seckill_scan_begin(&s, seats, seckill_relation_open_seats_key(), 1);
	ScanKeyInit(&equal, 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	seckill_scan_find(&s, &equal, 1);
	while (seckill_scan_next(&s))
		add_row(read, s.slot);
	seckill_scan_end(&s);
}

/* Is the seat beside the one before it in the list? */
static bool
is_adjacent(const SeatRow *row)
{
	return row[-1].block == row->block && row[-1].seat + 1 == row->seat;
}

/* Make a map of the rows, with nothing held. */
static SeatMap *
make_map(const SeatRows *read, int nlegs)
{
	Size		size = seat_map_size(read->n, nlegs);
	SeatMap    *map = palloc(sizeof(SeatMap));

	seat_map_layout(map, palloc_extended(Max(size, 1), MCXT_ALLOC_HUGE),
					read->n, nlegs);
	seat_map_clear(map);
	for (int i = 0; i < read->n; i++)
	{
		const SeatRow *row = &read->rows[i];

		map->seat[i] = row->seat;
		map->car[i] = row->car;
		seat_map_set(map, map->taken, i, row->taken, true);
		if (i > 0 && is_adjacent(row))
			map->adjacent[i / 64] |= (uint64) 1 << (i % 64);
	}
	return map;
}

/* Read the seats of an item into a map of so many legs. */
SeatMap *
seckill_seats_read(int64 item_id, int nlegs)
{
	SeatRows	read = {.max = 128};
	SeatMap    *map;

	read.rows = palloc(read.max * sizeof(SeatRow));
	read_rows(item_id, &read);
	SECKILL_FAULT("seats read");
	map = make_map(&read, nlegs);
	pfree(read.rows);
	return map;
}
