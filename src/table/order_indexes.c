/*
 * order_indexes.c
 *		The indexes of seckill.orders that new orders belong into.
 *
 * Most orders belong into one index of five: the others are partial, for the
 * orders with a limit, a request, a number or a time by which to pay.  The
 * executor opens them all and sets up their predicates for each statement,
 * which costs a single purchase more than the entry itself.  A purchase shows
 * whether its order meets these predicates, so an index that no order of a
 * list needs is not opened, and of one that all need the predicate is not
 * evaluated.
 *
 * What a predicate says is read from the index, not assumed from its name.  An
 * index with any other predicate, whoever made it, is opened, and the server
 * evaluates that.
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/index.h"
#include "nodes/primnodes.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/columns.h"
#include "table/order_indexes.h"
#include "table/relation.h"

/* What orders an index has. */
typedef enum Members
{
	MEMBERS_OTHER,				/* all, or what the server evaluates */
	MEMBERS_LIMITED,			/* limited */
	MEMBERS_REQUESTED,			/* request_id IS NOT NULL */
	MEMBERS_NUMBERED,			/* unit IS NOT NULL */
	MEMBERS_PENDING				/* state = 'pending' */
} Members;

typedef struct KnownIndex
{
	Oid			index;
	Members		members;
} KnownIndex;

/* The indexes with known predicates; more are treated like others. */
#define MAX_KNOWN		16

static KnownIndex known[MAX_KNOWN];
static int	nknown = 0;


/*
 * Predicates
 */

static bool
is_column(const Node *node, int column)
{
	return IsA(node, Var) && ((const Var *) node)->varattno == column;
}

static bool
is_not_null(const Node *node, int column)
{
	const NullTest *test = (const NullTest *) node;

	return IsA(node, NullTest) && test->nulltesttype == IS_NOT_NULL &&
		is_column((const Node *) test->arg, column);
}

/* Is this "state = 'pending'"? */
static bool
is_pending(const Node *node)
{
	const OpExpr *op = (const OpExpr *) node;
	const Const *value;

	if (!IsA(node, OpExpr) || op->opfuncid != F_ENUM_EQ ||
		!is_column(linitial(op->args), ORDER_STATE))
		return false;
	value = lsecond(op->args);
	return IsA(value, Const) && !value->constisnull &&
		DatumGetObjectId(value->constvalue) ==
		seckill_catalog()->state[ORDER_PENDING];
}

/* What orders does an index with this predicate have? */
static Members
members_of(List *predicate)
{
	const Node *node;

	if (list_length(predicate) != 1)
		return MEMBERS_OTHER;
	node = linitial(predicate);
	if (is_column(node, ORDER_LIMITED))
		return MEMBERS_LIMITED;
	if (is_not_null(node, ORDER_REQUEST_ID))
		return MEMBERS_REQUESTED;
	if (is_not_null(node, ORDER_UNIT))
		return MEMBERS_NUMBERED;
	if (is_pending(node))
		return MEMBERS_PENDING;
	return MEMBERS_OTHER;
}

/*
 * Read the predicates of all indexes.  Called again after an invalidation of
 * the table; an index that is not known by then is one of the others.
 */
void
seckill_order_indexes_learn(Relation orders)
{
	List	   *indexes = RelationGetIndexList(orders);
	ListCell   *lc;

	nknown = 0;
	foreach(lc, indexes)
	{
		Relation	index = seckill_relation_open_index_to_write(lfirst_oid(lc));
		Members		members = members_of(RelationGetIndexPredicate(index));

		if (members != MEMBERS_OTHER && nknown < MAX_KNOWN)
		{
			known[nknown].index = lfirst_oid(lc);
			known[nknown++].members = members;
		}
		index_close(index, RowExclusiveLock);
	}
	list_free(indexes);
}


/*
 * Opening
 */

/* Does the index have the order of the purchase? */
static bool
is_member(const Purchase *p, Members members)
{
	switch (members)
	{
		case MEMBERS_LIMITED:
			return p->rules.per_user_limit > 0;
		case MEMBERS_REQUESTED:
			return p->has_request;
		case MEMBERS_NUMBERED:
			return p->unit != 0;
		case MEMBERS_PENDING:
			return p->rules.pay_within > 0;
		case MEMBERS_OTHER:
			break;
	}
	return true;
}

static int
count_members(Purchase **list, int n, Members members)
{
	int			count = 0;

	for (int i = 0; i < n; i++)
		count += is_member(list[i], members);
	return count;
}

static Members
known_members(Oid index)
{
	for (int i = 0; i < nknown; i++)
		if (known[i].index == index)
			return known[i].members;
	return MEMBERS_OTHER;
}

/*
 * Open the indexes that have any of the orders of the purchases, as
 * ExecOpenIndices() does; closed by ExecCloseIndices().
 */
void
seckill_order_indexes_open(ResultRelInfo *result, Purchase **list, int n)
{
	List	   *indexes = RelationGetIndexList(result->ri_RelationDesc);
	int			max = Max(list_length(indexes), 1);
	ListCell   *lc;

	result->ri_NumIndices = 0;
	result->ri_IndexRelationDescs = palloc(max * sizeof(Relation));
	result->ri_IndexRelationInfo = palloc(max * sizeof(IndexInfo *));
	foreach(lc, indexes)
	{
		Members		members = known_members(lfirst_oid(lc));
		int			count = members == MEMBERS_OTHER ? n :
			count_members(list, n, members);
		Relation	index;
		IndexInfo  *info;

		if (count == 0)
			continue;
		index = seckill_relation_open_index_to_write(lfirst_oid(lc));
		info = BuildIndexInfo(index);
		if (members != MEMBERS_OTHER && count == n)
			info->ii_Predicate = NIL;
		result->ri_IndexRelationDescs[result->ri_NumIndices] = index;
		result->ri_IndexRelationInfo[result->ri_NumIndices++] = info;
	}
	list_free(indexes);
}
