/*
 * direct.c
 *		What direct writes of orders, items and seats have in common.
 *
 * A statement through SPI spends more on the start of the executor than on the
 * row: it locks and checks what it did the call before, parses the constraints
 * anew, and sets up a plan of one node.  Where a table has nothing but what the
 * extension made, all that is known in advance.  Then order_direct.c,
 * item_direct.c and seat_direct.c form the rows, and call the server's own
 * functions that write them and the entries of all indexes, whatever indexes
 * there are.
 *
 * Whether a table has anything else is read from its relation's cache entry.
 * If so, or if an extension watches the rights of statements, the caller uses
 * SQL, which knows what to do.  The answer is kept until the catalog cache is
 * invalidated; whatever changes the table does that, and takes a lock that
 * conflicts with ours or waits for our transaction (CREATE INDEX CONCURRENTLY).
 *
 * A row that another transaction has changed is treated as by the executor: in
 * READ COMMITTED the newest version is locked and judged again, otherwise it
 * is a serialization failure.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/primnodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/compat.h"
#include "base/settings.h"
#include "table/direct.h"

/*
 * Is it allowed?
 */

/* May tables be written directly at all? */
bool
seckill_direct_is_on(void)
{
	return seckill_direct_writes && ExecutorCheckPerms_hook == NULL;
}

/* Has the table, which is open and locked, nothing that asks for SQL? */
bool
seckill_direct_is_allowed(DirectTest *test, Relation table)
{
	/* the test may have the catalog loaded again */
	uint64		generation = seckill_catalog()->generation;

	if (test->generation != generation)
	{
		test->plain = test->is_plain(table);
		test->generation = generation;
	}
	return test->plain;
}

/*
 * Is this the text of the expression?  With another search path the server may
 * write it in another way; then the answer is no.
 */
bool
seckill_direct_is_expression(Relation table, const char *expression,
							 const char *as_text)
{
	Datum		is = DirectFunctionCall2(pg_get_expr,
										 CStringGetTextDatum(expression),
										 ObjectIdGetDatum(RelationGetRelid(table)));

	return strcmp(TextDatumGetCString(is), as_text) == 0;
}

/* Has the owner of the table kept all of these rights? */
bool
seckill_direct_may(Relation table, Oid owner, uint32 rights)
{
	return pg_class_aclmask(RelationGetRelid(table), owner, rights,
							ACLMASK_ALL) == rights;
}

/* Is this a call of the extension's function of that name? */
bool
seckill_direct_is_call(const Node *node, const char *name)
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
		seckill_direct_is_call(linitial(not->args), "seckill_is_own");
}

/*
 * Does the trigger nothing when the extension changes a row?  Those of foreign
 * keys that refer to the row look at changed keys only.
 */
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
has_idle_triggers(Relation table)
{
	const TriggerDesc *triggers = CopyTriggerDesc(table->trigdesc);

	if (triggers == NULL)
		return true;
	if (triggers->trig_update_old_table || triggers->trig_update_new_table)
		return false;
	for (int i = 0; i < triggers->numtriggers; i++)
		if (!is_idle(&triggers->triggers[i]))
			return false;
	return true;
}

/* Is a column that is changed part of a key, or are any generated? */
static bool
has_plain_columns(Relation table, const AttrNumber *changed, int n)
{
	TupleDesc	desc = RelationGetDescr(table);
	Bitmapset  *keys = RelationGetIndexAttrBitmap(table, INDEX_ATTR_BITMAP_KEY);

	for (int i = 0; i < n; i++)
		if (bms_is_member(changed[i] - FirstLowInvalidHeapAttributeNumber, keys))
			return false;
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->attgenerated != '\0')
			return false;
	return true;
}

/*
 * Would an UPDATE of these columns by the extension do nothing besides?  Leaves
 * out the constraints and rights.
 */
bool
seckill_direct_can_update(Relation table, const AttrNumber *changed, int n)
{
	return table->rd_rel->relkind == RELKIND_RELATION &&
		!table->rd_rel->relispartition && table->rd_rules == NULL &&
		has_idle_triggers(table) && has_plain_columns(table, changed, n);
}


/*
 * Rows
 */

/*
 * Lock the version of the row that is in the slot, or the newest one if
 * another transaction has changed it.  Returns whether the slot has a locked
 * version: not if it is deleted, or locked and the policy is not to wait.  The
 * newest version may have another key.
 */
bool
seckill_direct_lock(Relation table, TupleTableSlot *slot,
					LockWaitPolicy policy, uint8 flags)
{
	ItemPointerData at = slot->tts_tid;
	TM_FailureData failure;

	ExecClearTuple(slot);
	switch (table_tuple_lock(table, &at, GetActiveSnapshot(), slot,
							 GetCurrentCommandId(true),
							 LockTupleNoKeyExclusive, policy, flags, &failure))
	{
		case TM_Ok:
			return true;
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
			elog(ERROR, "row of table \"%s\" cannot be locked",
				 RelationGetRelationName(table));
	}
}

/*
 * Copy a row to a slot whose columns can be changed.  False if a column is NULL
 * that must not be: it had that rule only for new rows.
 */
static bool
copy_row(TupleTableSlot *from, TupleTableSlot *to)
{
	TupleDesc	desc = to->tts_tupleDescriptor;

	slot_getallattrs(from);
	ExecClearTuple(to);
	memcpy(to->tts_values, from->tts_values, desc->natts * sizeof(Datum));
	memcpy(to->tts_isnull, from->tts_isnull, desc->natts * sizeof(bool));
	ExecStoreVirtualTuple(to);
	for (int i = 0; i < desc->natts; i++)
		if (to->tts_isnull[i] && TupleDescAttr(desc, i)->attnotnull)
			return false;
	return true;
}

/* Write the entries of a row's new version to the indexes that need them. */
static void
write_indexes(Relation table, TupleTableSlot *slot,
			  SeckillUpdatedIndexes which)
{
	EState	   *estate;
	ResultRelInfo *result;

	if (!SeckillAnyIndexUpdated(which))
		return;
	estate = CreateExecutorState();
	result = makeNode(ResultRelInfo);
	result->ri_RelationDesc = table;
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
write_row(Relation table, TupleTableSlot *old, TupleTableSlot *new)
{
	TM_FailureData failure;
	LockTupleMode mode;
	SeckillUpdatedIndexes which;

	switch (SeckillTupleUpdate(table, &old->tts_tid, new,
							   GetCurrentCommandId(true), GetActiveSnapshot(),
							   &failure, &mode, &which))
	{
		case TM_Ok:
			write_indexes(table, new, which);
			return true;
		case TM_Updated:
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				seckill_serialization_failure();
			return false;
		default:
			elog(ERROR, "row of table \"%s\" cannot be written",
				 RelationGetRelationName(table));
	}
}

/*
 * Update a row, waiting for its lock.  The slot, of the table's own kind, has
 * the version that the active snapshot sees.
 */
DirectResult
seckill_direct_update(Relation table, TupleTableSlot *found, DirectForm form,
					  const void *change)
{
	TupleTableSlot *new = MakeSingleTupleTableSlot(RelationGetDescr(table),
												   &TTSOpsVirtual);
	DirectResult result;

	CheckCmdReplicaIdentity(table, CMD_UPDATE);
	new->tts_tableOid = RelationGetRelid(table);
	for (;;)
	{
		result = copy_row(found, new) ? form(new, change) : DIRECT_NEEDS_SQL;
		if (result != DIRECT_DONE || write_row(table, found, new))
			break;
		result = DIRECT_REFUSED;
		if (!seckill_direct_lock(table, found, LockWaitBlock,
								 TUPLE_LOCK_FLAG_FIND_LAST_VERSION))
			break;
	}
	ExecDropSingleTupleTableSlot(new);
	return result;
}
