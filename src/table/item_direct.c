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
 *
 * A row that another transaction has changed is treated as by the executor: in
 * READ COMMITTED the newest version is locked and judged again, otherwise it
 * is a serialization failure.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "common/int.h"
#include "executor/executor.h"
#include "nodes/primnodes.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/columns.h"
#include "base/compat.h"
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

/* Is this a call of the extension's function of that name? */
static bool
is_call(const Node *node, const char *name)
{
	Oid			function;

	if (node == NULL || !IsA(node, FuncExpr))
		return false;
	function = ((const FuncExpr *) node)->funcid;
	return strcmp(get_func_name(function), name) == 0 &&
		getExtensionOfObject(ProcedureRelationId, function) ==
		get_extension_oid("seckill", true);
}

/* Does the condition of a trigger except the extension's own statements? */
static bool
excepts_own(const char *condition)
{
	const BoolExpr *not = condition == NULL ? NULL : stringToNode(condition);

	return not != NULL && IsA(not, BoolExpr) && not->boolop == NOT_EXPR &&
		is_call(linitial(not->args), "seckill_is_own");
}

/* Does the trigger nothing when units of a row are moved? */
static bool
is_idle(const Trigger *trigger)
{
	return !TRIGGER_FOR_UPDATE(trigger->tgtype) ||
		RI_FKey_trigger_type(trigger->tgfoid) == RI_TRIGGER_PK ||
		(TRIGGER_FOR_AFTER(trigger->tgtype) &&
		 TRIGGER_FOR_ROW(trigger->tgtype) && excepts_own(trigger->tgqual));
}

/*
 * Do the triggers of the table do nothing then?  Works on a copy, as a look-up
 * in the catalogs can have the cache entry made again.
 */
static bool
has_idle_triggers(Relation items)
{
	const TriggerDesc *triggers = CopyTriggerDesc(items->trigdesc);

	if (triggers == NULL)
		return true;
	if (triggers->trig_update_old_table || triggers->trig_update_new_table)
		return false;
	for (int i = 0; i < triggers->numtriggers; i++)
		if (!is_idle(&triggers->triggers[i]))
			return false;
	return true;
}

/* Is this the constraint that ties the numbers of an item to its stock? */
static bool
is_numbers_check(const char *expression)
{
	static const AttrNumber columns[] = {
		ITEM_NUMBERED, ITEM_NUMBERS, ITEM_OFF_SALE, ITEM_STOCK
	};
	const Node *node = stringToNode(expression);
	const FuncExpr *call = (const FuncExpr *) node;

	if (!is_call(node, "seckill_check_numbers") ||
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

/* Is a column that is changed here part of a key, or are any generated? */
static bool
has_plain_columns(Relation items)
{
	static const AttrNumber changed[] = {
		ITEM_STOCK, ITEM_VERSION, ITEM_LEASED, ITEM_LEASE_ID, ITEM_SEAL
	};
	TupleDesc	desc = RelationGetDescr(items);
	Bitmapset  *keys = RelationGetIndexAttrBitmap(items, INDEX_ATTR_BITMAP_KEY);

	for (int i = 0; i < (int) lengthof(changed); i++)
		if (bms_is_member(changed[i] - FirstLowInvalidHeapAttributeNumber, keys))
			return false;
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->attgenerated != '\0')
			return false;
	return true;
}

/* Does the table have nothing that asks for SQL? */
static bool
is_plain(Relation items)
{
	return items->rd_rel->relkind == RELKIND_RELATION &&
		!items->rd_rel->relispartition && items->rd_rules == NULL &&
		has_idle_triggers(items) && has_known_checks(items) &&
		has_plain_columns(items) &&
		seckill_direct_may(items, seckill_catalog()->owner,
						   ACL_SELECT | ACL_UPDATE);
}

static DirectTest test = {.is_plain = is_plain};


/*
 * Locking
 */

/*
 * Lock the version of the row that is in the slot, or the newest one if
 * another transaction has changed it.  Returns whether the slot has a locked
 * version of the item: not if it is deleted, or locked and the policy is not
 * to wait.
 */
static bool
lock_version(Relation items, TupleTableSlot *slot, int64 item_id,
			 LockWaitPolicy policy, uint8 flags)
{
	ItemPointerData at = slot->tts_tid;
	TM_FailureData failure;
	bool		isnull;

	ExecClearTuple(slot);
	switch (table_tuple_lock(items, &at, GetActiveSnapshot(), slot,
							 GetCurrentCommandId(true),
							 LockTupleNoKeyExclusive, policy, flags, &failure))
	{
		case TM_Ok:
			return DatumGetInt64(slot_getattr(slot, ITEM_ITEM_ID, &isnull)) == item_id;
		case TM_WouldBlock:
			return false;
		case TM_Updated:
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				seckill_serialization_failure();
			return false;
		case TM_SelfModified:
			return false;
		default:
			elog(ERROR, "row of item " INT64_FORMAT " cannot be locked", item_id);
	}
}

/* Lock the row of an item and read it; false as for lock_version(). */
static bool
lock_row(Relation items, TupleTableSlot *slot, int64 item_id,
		 LockWaitPolicy policy, ItemRow *row)
{
	uint8		flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	if (!seckill_item_fetch_slot(items, item_id, GetActiveSnapshot(), slot) ||
		!lock_version(items, slot, item_id, policy, flags))
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

/* Does the row keep the constraints, and has each column what it must have? */
static bool
keeps_checks(const TupleTableSlot *row)
{
	TupleDesc	desc = row->tts_tupleDescriptor;
	const ItemColumns c = {row->tts_values, row->tts_isnull};
	int32		leased = DatumGetInt32(seckill_item_column(&c, ITEM_LEASED, 0));

	for (int i = 0; i < desc->natts; i++)
		if (row->tts_isnull[i] && TupleDescAttr(desc, i)->attnotnull)
			return false;
	return !DatumGetBool(seckill_item_column(&c, ITEM_NUMBERED, 0)) &&
		row->tts_isnull[ITEM_NUMBERS - 1] && row->tts_isnull[ITEM_LEGS - 1] &&
		DatumGetInt32(seckill_item_column(&c, ITEM_STOCK, 0)) >= 0 &&
		(leased == 0 ||
		 (leased > 0 && !row->tts_isnull[ITEM_LEASE_ID - 1]));
}

/* Form the new version of a row.  DIRECT_DONE: it can be written. */
static DirectResult
form_row(TupleTableSlot *old, const ItemChange *change, TupleTableSlot *new)
{
	Datum	   *values = new->tts_values;
	bool	   *nulls = new->tts_isnull;
	int			natts = new->tts_tupleDescriptor->natts;
	int64		version;
	int32		stock;
	int32		leased;
	int64		lease_id;

	slot_getallattrs(old);
	ExecClearTuple(new);
	memcpy(values, old->tts_values, natts * sizeof(Datum));
	memcpy(nulls, old->tts_isnull, natts * sizeof(bool));
	ExecStoreVirtualTuple(new);
	if (!keeps_checks(new))
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
	return keeps_checks(new) ? DIRECT_DONE : DIRECT_NEEDS_SQL;
}

/* Write the entries of a row's new version to the indexes that need them. */
static void
write_indexes(Relation items, TupleTableSlot *slot,
			  SeckillUpdatedIndexes which)
{
	EState	   *estate;
	ResultRelInfo *result;

	if (!SeckillAnyIndexUpdated(which))
		return;
	estate = CreateExecutorState();
	result = makeNode(ResultRelInfo);
	result->ri_RelationDesc = items;
	ExecOpenIndices(result, false);
	(void) SeckillUpdateIndexTuples(result, slot, estate, which);
	ExecCloseIndices(result);
	FreeExecutorState(estate);
}

/*
 * Write the new version to the heap and the indexes; false if another
 * transaction has changed or deleted the row.
 */
static bool
write_row(Relation items, TupleTableSlot *old, TupleTableSlot *new)
{
	TM_FailureData failure;
	LockTupleMode mode;
	SeckillUpdatedIndexes which;

	switch (SeckillTupleUpdate(items, &old->tts_tid, new,
							   GetCurrentCommandId(true), GetActiveSnapshot(),
							   &failure, &mode, &which))
	{
		case TM_Ok:
			write_indexes(items, new, which);
			return true;
		case TM_Updated:
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				seckill_serialization_failure();
			return false;
		default:
			elog(ERROR, "row of an item cannot be written");
	}
}

/* Change the row of the open table. */
static DirectResult
change_row(Relation items, const ItemChange *change)
{
	TupleTableSlot *old = table_slot_create(items, NULL);
	TupleTableSlot *new = MakeSingleTupleTableSlot(RelationGetDescr(items),
												   &TTSOpsVirtual);
	bool		found = seckill_item_fetch_slot(items, change->item_id,
												GetActiveSnapshot(), old);
	DirectResult result = DIRECT_REFUSED;

	new->tts_tableOid = RelationGetRelid(items);
	while (found)
	{
		result = form_row(old, change, new);
		if (result != DIRECT_DONE || write_row(items, old, new))
			break;
		result = DIRECT_REFUSED;
		found = lock_version(items, old, change->item_id, LockWaitBlock,
							 TUPLE_LOCK_FLAG_FIND_LAST_VERSION);
	}
	ExecDropSingleTupleTableSlot(new);
	ExecDropSingleTupleTableSlot(old);
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
		CheckCmdReplicaIdentity(items, CMD_UPDATE);
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
