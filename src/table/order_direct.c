/*
 * order_direct.c
 *		Writes orders without SQL: into the heap and the indexes, as COPY does.
 *
 * The head of direct.c says why.  What an INSERT would do besides decides
 * whether this is allowed:
 *
 * - triggers on INSERT, which foreign keys and deferrable constraints have,
 *   too, and rules: none
 * - CHECK constraints: only that of quantity, which the caller has checked
 * - columns that an INSERT would leave to their defaults: none that needs a
 *   value, but created_at, whose default is now()
 * - columns of the extension that may be NULL: none that has become NOT NULL
 * - a right of the owner that it has revoked from itself: none
 *
 * order_indexes.c opens the indexes.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/catalog.h"
#include "base/columns.h"
#include "base/compat.h"
#include "base/fault.h"
#include "seckill.h"
#include "table/direct.h"
#include "table/new_orders.h"
#include "table/order_direct.h"
#include "table/order_indexes.h"
#include "table/plan.h"
#include "table/relation.h"

/*
 * All columns up to this one are written; those after it are NULL, but for the
 * seats of a booking.
 */
#define LAST_WRITTEN	ORDER_UNIT

/* Orders that are written at once. */
#define SLOTS			64

/*
 * Is it allowed?
 */

/* What an INSERT does by triggers. */
static bool
has_insert_triggers(const TriggerDesc *triggers)
{
	return triggers != NULL &&
		(triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
		 triggers->trig_insert_instead_row ||
		 triggers->trig_insert_before_statement ||
		 triggers->trig_insert_after_statement ||
		 triggers->trig_insert_new_table);
}

/* Is the only CHECK constraint that of quantity? */
static bool
has_known_checks(Relation orders)
{
	const TupleConstr *constr = RelationGetDescr(orders)->constr;

	return constr != NULL && constr->num_check == 1 &&
		seckill_direct_is_expression(orders, constr->check[0].ccbin,
									 "(quantity > 0)");
}

/* Is the default of created_at still that of the extension? */
static bool
has_known_default(Relation orders)
{
	const TupleConstr *constr = RelationGetDescr(orders)->constr;

	for (int i = 0; i < constr->num_defval; i++)
		if (constr->defval[i].adnum == ORDER_CREATED_AT)
			return seckill_direct_is_expression(orders, constr->defval[i].adbin,
												"now()");
	return false;
}

/* Can a row be NULL in this column, and is NULL what an INSERT would put? */
static bool
can_be_null(const FormData_pg_attribute *att)
{
	return att->attisdropped ||
		(!att->attnotnull && !att->atthasdef && att->attidentity == '\0' &&
		 att->attgenerated == '\0' &&
		 get_typtype(att->atttypid) != TYPTYPE_DOMAIN);
}

/* Do all columns take what the extension writes, and NULL elsewhere? */
static bool
has_known_columns(TupleDesc desc)
{
	static const OrderColumn nullable[] = {
		ORDER_LEASE_ID, ORDER_REQUEST_ID, ORDER_PAY_BY, ORDER_UNIT
	};

	for (int i = 0; i < (int) lengthof(nullable); i++)
		if (TupleDescAttr(desc, nullable[i] - 1)->attnotnull)
			return false;
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->attgenerated != '\0' ||
			(i >= LAST_WRITTEN && !can_be_null(TupleDescAttr(desc, i))))
			return false;
	return true;
}

/* Does the table have nothing that asks for SQL? */
static bool
is_plain(Relation orders)
{
	if (orders->rd_rel->relkind != RELKIND_RELATION ||
		orders->rd_rel->relispartition || orders->rd_rules != NULL ||
		has_insert_triggers(orders->trigdesc) || !has_known_checks(orders) ||
		!has_known_default(orders) ||
		!has_known_columns(RelationGetDescr(orders)) ||
		!seckill_direct_may(orders, seckill_catalog()->orders_owner, ACL_INSERT))
		return false;
	seckill_order_indexes_learn(orders);
	return true;
}

static DirectTest test = {.is_plain = is_plain};


/*
 * Writing
 */

/* Fill the slot with the order of a purchase. */
static void
form_order(TupleTableSlot *slot, const Purchase *p, const NewOrders *new)
{
	const SeckillCatalog *c = seckill_catalog();
	Datum	   *values = slot->tts_values;
	bool	   *nulls = slot->tts_isnull;
	bool		pending = p->rules.pay_within > 0;

	ExecClearTuple(slot);
	memset(nulls, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	memset(nulls, false, LAST_WRITTEN * sizeof(bool));
	values[ORDER_ITEM_ID - 1] = Int64GetDatum(p->item_id);
	values[ORDER_ORDER_ID - 1] = Int64GetDatum(p->order_id);
	values[ORDER_USER_ID - 1] = Int64GetDatum(p->user_id);
	values[ORDER_QUANTITY - 1] = Int32GetDatum(p->quantity);
	values[ORDER_MODE - 1] = ObjectIdGetDatum(c->mode[new->mode]);
	values[ORDER_LEASE_ID - 1] = Int64GetDatum(new->lease_id);
	nulls[ORDER_LEASE_ID - 1] = new->lease_id == 0;
	values[ORDER_CREATED_AT - 1] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	values[ORDER_REQUEST_ID - 1] = UUIDPGetDatum(&p->request_id);
	nulls[ORDER_REQUEST_ID - 1] = !p->has_request;
	values[ORDER_LIMITED - 1] = BoolGetDatum(p->rules.per_user_limit > 0);
	values[ORDER_STATE - 1] =
		ObjectIdGetDatum(c->state[pending ? ORDER_PENDING : ORDER_CONFIRMED]);
	values[ORDER_PAY_BY - 1] = TimestampTzGetDatum(new_order_pay_by(p, new));
	nulls[ORDER_PAY_BY - 1] = !pending;
	values[ORDER_UNIT - 1] = Int32GetDatum(p->unit);
	nulls[ORDER_UNIT - 1] = p->unit == 0;
	if (p->npieces > 0)
	{
		values[ORDER_SEATS - 1] = seckill_new_order_seats(p->pieces, p->npieces);
		values[ORDER_SEAT_LEGS - 1] = seckill_new_order_legs(p->pieces, p->npieces);
		nulls[ORDER_SEATS - 1] = nulls[ORDER_SEAT_LEGS - 1] = false;
	}
	ExecStoreVirtualTuple(slot);
}

/* Write the rows of the slots to the heap. */
static void
write_heap(Relation orders, TupleTableSlot **slots, int n)
{
	CommandId	command = GetCurrentCommandId(true);

	if (n == 1)
		table_tuple_insert(orders, slots[0], command, 0, NULL);
	else
		table_multi_insert(orders, slots, n, command, 0, NULL);
}

/* Write the entries of the rows to their indexes, which are open. */
static void
write_indexes(ResultRelInfo *result, TupleTableSlot **slots, int n,
			  EState *estate)
{
	for (int i = 0; i < n; i++)
	{
		(void) SeckillInsertIndexTuples(result, slots[i], estate);
		ResetPerTupleExprContext(estate);
	}
}

/*
 * Write the orders to the open table, as the current user.  They go through a
 * few slots, as each slot pins the row type, and the server searches the pins
 * of a resource owner one after the other if there are many of one thing.
 */
static void
write_orders(Relation orders, Purchase **list, int n, const NewOrders *new)
{
	TupleTableSlot *slots[SLOTS];
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *result = makeNode(ResultRelInfo);
	int			nslots = Min(n, SLOTS);

	result->ri_RelationDesc = orders;
	seckill_order_indexes_open(result, list, n);
	for (int i = 0; i < nslots; i++)
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(orders),
											&TTSOpsVirtual);
	for (int done = 0; done < n; done += SLOTS)
	{
		int			part = Min(n - done, SLOTS);

		for (int i = 0; i < part; i++)
			form_order(slots[i], list[done + i], new);
		write_heap(orders, slots, part);
		SECKILL_FAULT("orders are in the heap");
		write_indexes(result, slots, part, estate);
	}
	for (int i = 0; i < nslots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	ExecCloseIndices(result);
	FreeExecutorState(estate);
}

/*
 * Insert the orders of purchases, which have their order_id.  Returns false,
 * with nothing inserted, if that must be done by SQL.  Runs as the owner of
 * seckill.orders: indexes of the application may call functions.
 */
bool
seckill_orders_insert_direct(Purchase **list, int n, const NewOrders *new)
{
	Relation	orders;
	TableCaller caller;
	bool		allowed;

	if (!seckill_direct_is_on())
		return false;
	orders = seckill_relation_open_orders_to_write();
	allowed = seckill_direct_is_allowed(&test, orders);
	if (allowed)
	{
		seckill_table_switch_user(seckill_catalog()->orders_owner, &caller);
		PushActiveSnapshot(new->snapshot != InvalidSnapshot ? new->snapshot :
						   GetTransactionSnapshot());
		write_orders(orders, list, n, new);
		PopActiveSnapshot();
		seckill_table_restore_user(&caller);
		CommandCounterIncrement();
		SECKILL_FAULT("orders written directly");
	}
	table_close(orders, NoLock);
	return allowed;
}
