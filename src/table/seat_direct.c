/*
 * seat_direct.c
 *		Takes seats without SQL, as the executor does.
 *
 * The head of direct.c says why.  What the UPDATE of seats.c would do besides
 * decides whether this is allowed, as in item_direct.c: triggers on UPDATE but
 * the extension's own, rules, CHECK constraints but the extension's own,
 * generated columns, and rights that the owner has revoked from itself.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/columns.h"
#include "base/fault.h"
#include "table/index_scan.h"
#include "table/plan.h"
#include "table/relation.h"
#include "table/seat_direct.h"
#include "xact/changes.h"

/* Is the only CHECK constraint that of taken? */
static bool
has_known_checks(Relation seats)
{
	const TupleConstr *constr = RelationGetDescr(seats)->constr;

	return constr != NULL && constr->num_check == 1 &&
		constr->check[0].ccvalid &&
		seckill_direct_is_expression(seats, constr->check[0].ccbin,
									 "(taken >= 0)");
}

/* Does the table have nothing that asks for SQL? */
static bool
is_plain(Relation seats)
{
	static const AttrNumber changed[] = {SEAT_TAKEN};

	return seckill_direct_can_update(seats, changed, lengthof(changed)) &&
		has_known_checks(seats) &&
		seckill_direct_may(seats, seckill_catalog()->seats_owner,
						   ACL_SELECT | ACL_UPDATE);
}

static DirectTest test = {.is_plain = is_plain};

/* What to take, and where to put what the row says then. */
typedef struct SeatTaking
{
	int64		item_id;
	const SeatPiece *piece;
	SeatPiece  *row;
} SeatTaking;

/* Take the legs, if they are free, as a DirectForm. */
static DirectResult
form_row(TupleTableSlot *row, const void *arg)
{
	const SeatTaking *taking = arg;
	Datum	   *values = row->tts_values;
	int64		taken = DatumGetInt64(values[SEAT_TAKEN - 1]);
	int64		legs = (int64) taking->piece->legs;

	if (DatumGetInt64(values[SEAT_ITEM_ID - 1]) != taking->item_id ||
		DatumGetInt32(values[SEAT_SEAT - 1]) != taking->piece->seat ||
		(taken & legs) != 0)
		return DIRECT_REFUSED;
	taken |= legs;
	if (taken < 0)
		return DIRECT_NEEDS_SQL;
	values[SEAT_TAKEN - 1] = Int64GetDatum(taken);
	taking->row->seat = taking->piece->seat;
	taking->row->legs = (uint64) taken;
	return DIRECT_DONE;
}

/* Take one piece. */
static DirectResult
take_one(TableScan *scan, int64 item_id, const SeatPiece *piece, SeatPiece *row)
{
	SeatTaking	taking = {item_id, piece, row};
	ScanKeyData equal[2];

	ScanKeyInit(&equal[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	ScanKeyInit(&equal[1], 2, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(piece->seat));
	seckill_scan_find(scan, equal, 2);
	return seckill_scan_next(scan) ?
		seckill_direct_update(scan->table, scan->slot, form_row, &taking) :
		DIRECT_REFUSED;
}

/*
 * The guard, as seckill_seats_take() describes it.  The caller holds the lock
 * of an UPDATE on the table.  Sets *taken to the number of pieces that were
 * taken, the first ones; the result is that of the piece after them.
 */
DirectResult
seckill_seats_take_direct(int64 item_id, const SeatPiece *pieces, int n,
						  SeatPiece *rows, int *taken)
{
	Relation	seats;
	DirectResult result = DIRECT_DONE;
	TableScan	scan;
	TableCaller caller;

	*taken = 0;
	if (!seckill_direct_is_on())
		return DIRECT_NEEDS_SQL;
	seats = seckill_relation_open_seats();
	if (!seckill_direct_is_allowed(&test, seats))
	{
		table_close(seats, AccessShareLock);
		return DIRECT_NEEDS_SQL;
	}
	seckill_table_switch_user(seckill_catalog()->seats_owner, &caller);
	seckill_change_begin_own(item_id);
	PushActiveSnapshot(GetTransactionSnapshot());
	seckill_scan_begin_under(&scan, seats, seckill_relation_open_seats_key(), 2,
							 GetActiveSnapshot());
	while (*taken < n && result == DIRECT_DONE)
	{
		result = take_one(&scan, item_id, &pieces[*taken], &rows[*taken]);
		if (result == DIRECT_DONE)
			(*taken)++;
	}
	seckill_scan_end(&scan);
	PopActiveSnapshot();
	seckill_change_end_own();
	seckill_table_restore_user(&caller);
	CommandCounterIncrement();
	SECKILL_FAULT("seats written directly");
	return result;
}
