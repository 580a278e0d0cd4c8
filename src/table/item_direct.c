/*
 * item_direct.c
 *		Locks and writes rows of items without SQL, as the executor does.
 *
 * The head of direct.c says why.  What a SELECT FOR NO KEY UPDATE or an UPDATE
 * of units would do besides decides whether this is allowed:
 *
 * - triggers on UPDATE, and rules: only the trigger that does not fire for the
 *   extension's own statements, and those of foreign keys that refer to the
 *   item, which look at changed keys only.  No column that is changed here may
 *   belong to a key.
 * - CHECK constraints: only those of the extension.  A row that would violate
 *   one is left to SQL, which raises the error.
 * - generated columns: none
 * - rights of the owner that it has revoked from itself: none
 *
 * Rows whose units have numbers are locked here, and written by SQL.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "common/int.h"
#include "nodes/primnodes.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/columns.h"
#include "base/fault.h"
#include "seckill.h"
#include "table/direct.h"
#include "table/item_direct.h"
#include "table/item_row.h"
#include "table/relation.h"
#include "xact/changes.h"

/*
 * Is it allowed?
 */

/* Is this the constraint that ties the numbers of an item to its stock? */
static bool
is_numbers_check(const char *expression)
{
	static const AttrNumber columns[] = {
		ITEM_NUMBERED, ITEM_NUMBERS, ITEM_OFF_SALE, ITEM_STOCK
	};
	const Node *node = stringToNode(expression);
	const FuncExpr *call = (const FuncExpr *) node;

	if (!seckill_direct_is_call(node, "seckill_check_numbers") ||
		list_length(call->args) != lengthof(columns))
		return false;
	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		const Var  *var = list_nth(call->args, i);

		if (!IsA(var, Var) || var->varattno != columns[i])
			return false;
	}
	return true;
}

/*
 * Are the constraints those that keeps_checks() knows, and two that no column
 * which is changed here takes part in?
 */
static bool
has_known_checks(Relation items)
{
	static const char *const texts[] = {
		"((stock >= 0) AND ((legs IS NULL) OR ((stock = 0) AND (NOT numbered) AND (legs >= 1) AND (legs <= 63))))",
		"((leased = 0) OR ((leased > 0) AND (lease_id IS NOT NULL)))",
		"(place = ANY ('{moving,arriving,gone}'::text[]))",
		"(starts_at < ends_at)"
	};
	const TupleConstr *constr = RelationGetDescr(items)->constr;
	bool		found[lengthof(texts) + 1] = {false};

	if (constr == NULL || constr->num_check != lengthof(found))
		return false;
	for (int i = 0; i < constr->num_check; i++)
	{
		const ConstrCheck *check = &constr->check[i];
		int			k = 0;

		if (!check->ccvalid)
			return false;
		while (k < (int) lengthof(texts) &&
			   !seckill_direct_is_expression(items, check->ccbin, texts[k]))
			k++;
		if (found[k] ||
			(k == lengthof(texts) && !is_numbers_check(check->ccbin)))
			return false;
		found[k] = true;
	}
	return true;
}

/* Does the table have nothing that asks for SQL? */
static bool
is_plain(Relation items)
{
	static const AttrNumber changed[] = {
		ITEM_STOCK, ITEM_VERSION, ITEM_LEASED, ITEM_LEASE_ID, ITEM_SEAL
	};

	return seckill_direct_can_update(items, changed, lengthof(changed)) &&
		has_known_checks(items) &&
		seckill_direct_may(items, seckill_catalog()->owner,
						   ACL_SELECT | ACL_UPDATE);
}

static DirectTest test = {.is_plain = is_plain};


/*
 * Locking
 */

/* Is it the row of the item? */
static bool
is_item(TupleTableSlot *slot, int64 item_id)
{
	bool		isnull;

	return DatumGetInt64(slot_getattr(slot, ITEM_ITEM_ID, &isnull)) == item_id;
}

/*
 * Lock the row of an item and read it.  False if there is none, or if it is
 * locked and the policy is not to wait.
 */
static bool
lock_row(Relation items, TupleTableSlot *slot, int64 item_id,
		 LockWaitPolicy policy, ItemRow *row)
{
	uint8		flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	if (!seckill_item_fetch_slot(items, item_id, GetActiveSnapshot(), slot) ||
		!seckill_direct_lock(items, slot, policy, flags) ||
		!is_item(slot, item_id))
		return false;
	seckill_item_read_slot(slot, true, row);
	return true;
}

/*
 * Lock and read the rows of items, FOR NO KEY UPDATE; locked[i] says whether
 * rows[i] is set.  Returns false, with nothing done, if that must be done by
 * SQL.
 */
bool
seckill_items_lock_direct(const int64 *item_ids, int n, LockWaitPolicy policy,
						  ItemRow *rows, bool *locked)
{
	Relation	items;
	bool		allowed;

	if (!seckill_direct_is_on())
		return false;
	items = seckill_relation_open_items_to_lock();
	allowed = seckill_direct_is_allowed(&test, items);
	if (allowed)
	{
		TupleTableSlot *slot = table_slot_create(items, NULL);

		PushActiveSnapshot(GetTransactionSnapshot());
		for (int i = 0; i < n; i++)
			locked[i] = lock_row(items, slot, item_ids[i], policy, &rows[i]);
		PopActiveSnapshot();
		ExecDropSingleTupleTableSlot(slot);
	}
	table_close(items, NoLock);
	return allowed;
}


/*
 * Writing
 */

/* Does the row keep the constraints? */
static bool
keeps_checks(const TupleTableSlot *row)
{
	const ItemColumns c = {row->tts_values, row->tts_isnull};
	int32		leased = DatumGetInt32(seckill_item_column(&c, ITEM_LEASED, 0));

	return !DatumGetBool(seckill_item_column(&c, ITEM_NUMBERED, 0)) &&
		row->tts_isnull[ITEM_NUMBERS - 1] && row->tts_isnull[ITEM_LEGS - 1] &&
		DatumGetInt32(seckill_item_column(&c, ITEM_STOCK, 0)) >= 0 &&
		(leased == 0 ||
		 (leased > 0 && !row->tts_isnull[ITEM_LEASE_ID - 1]));
}

/* Change the copy of a row, as a DirectForm. */
static DirectResult
form_row(TupleTableSlot *row, const void *arg)
{
	const ItemChange *change = arg;
	Datum	   *values = row->tts_values;
	bool	   *nulls = row->tts_isnull;
	int64		version;
	int32		stock;
	int32		leased;
	int64		lease_id;

	if (!is_item(row, change->item_id))
		return DIRECT_REFUSED;
	if (!keeps_checks(row))
		return DIRECT_NEEDS_SQL;

	version = DatumGetInt64(values[ITEM_VERSION - 1]);
	lease_id = nulls[ITEM_LEASE_ID - 1] ? 0 :
		DatumGetInt64(values[ITEM_LEASE_ID - 1]);
	if (pg_add_s32_overflow(DatumGetInt32(values[ITEM_STOCK - 1]),
							change->stock, &stock) ||
		pg_add_s32_overflow(DatumGetInt32(values[ITEM_LEASED - 1]),
							change->leased, &leased) ||
		version == PG_INT64_MAX)
		return DIRECT_NEEDS_SQL;
	if (stock < 0 || leased < 0 ||
		(change->must_be_here && !nulls[ITEM_PLACE - 1]) ||
		(change->version != ANY_VERSION && change->version != version) ||
		(change->lease_id != 0 && change->lease_id != lease_id &&
		 DatumGetInt32(values[ITEM_LEASED - 1]) > 0))
		return DIRECT_REFUSED;

	values[ITEM_STOCK - 1] = Int32GetDatum(stock);
	values[ITEM_LEASED - 1] = Int32GetDatum(leased);
	values[ITEM_VERSION - 1] = Int64GetDatum(version + 1);
	if (change->lease_id != 0)
	{
		values[ITEM_LEASE_ID - 1] = Int64GetDatum(change->lease_id);
		values[ITEM_SEAL - 1] =
			Int64GetDatum(change->seal ^ DatumGetInt64(values[ITEM_SUPPLIED - 1]));
		nulls[ITEM_LEASE_ID - 1] = nulls[ITEM_SEAL - 1] = false;
	}
	return keeps_checks(row) ? DIRECT_DONE : DIRECT_NEEDS_SQL;
}

/* Change the row of the open table. */
static DirectResult
change_row(Relation items, const ItemChange *change)
{
	TupleTableSlot *row = table_slot_create(items, NULL);
	DirectResult result = DIRECT_REFUSED;

	if (seckill_item_fetch_slot(items, change->item_id, GetActiveSnapshot(),
								row))
		result = seckill_direct_update(items, row, form_row, change);
	ExecDropSingleTupleTableSlot(row);
	return result;
}

/*
 * Change the row of an item, waiting for its lock, and raise its version.
 */
DirectResult
seckill_item_change_direct(const ItemChange *change)
{
	Relation	items;
	DirectResult result = DIRECT_NEEDS_SQL;

	if (!seckill_direct_is_on())
		return result;
	items = seckill_relation_open_items_to_write();
	if (seckill_direct_is_allowed(&test, items))
	{
		seckill_change_begin_own(change->item_id);
		PushActiveSnapshot(GetTransactionSnapshot());
		result = change_row(items, change);
		PopActiveSnapshot();
		seckill_change_end_own();
		CommandCounterIncrement();
		SECKILL_FAULT("item written directly");
	}
	table_close(items, NoLock);
	return result;
}
