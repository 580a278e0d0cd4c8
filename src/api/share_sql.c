/*
 * share_sql.c
 *		What the extension seckill_cluster needs to exchange the units of items
 *		that are split over nodes.
 *
 * These functions are for the steps of seckill_split(), seckill_sync() and the
 * share worker; nobody else may call them.  Times are those of the monotonic
 * clock, in microseconds.
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/array.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/number_set.h"
#include "sale/exchange.h"
#include "sale/item.h"
#include "sale/share.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/share_state.h"
#include "table/item_row.h"
#include "table/plan.h"
#include "table/shares.h"
#include "xact/entry.h"

PG_FUNCTION_INFO_V1(seckill_split_node);
PG_FUNCTION_INFO_V1(seckill_split_set);
PG_FUNCTION_INFO_V1(seckill_share_state);
PG_FUNCTION_INFO_V1(seckill_share_lock);
PG_FUNCTION_INFO_V1(seckill_share_add);
PG_FUNCTION_INFO_V1(seckill_share_rejoin);
PG_FUNCTION_INFO_V1(seckill_share_forget);
PG_FUNCTION_INFO_V1(seckill_share_promise);
PG_FUNCTION_INFO_V1(seckill_share_prove);
PG_FUNCTION_INFO_V1(seckill_share_certify);
PG_FUNCTION_INFO_V1(seckill_share_want);
PG_FUNCTION_INFO_V1(seckill_share_keep);

/*
 * seckill_split_node(nodes integer[], user_id bigint) returns integer
 *
 * The node that sells an item, which is split over these nodes, to a user.
 */
Datum
seckill_split_node(PG_FUNCTION_ARGS)
{
	SplitNodes	split;

	seckill_item_read_split(PG_GETARG_ARRAYTYPE_P(0), &split);
	if (split.n == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(seckill_share_node_of(&split, PG_GETARG_INT64(1)));
}

/*
 * seckill_split_set(item_id bigint, nodes integer[]) returns void
 *
 * Writes over which nodes an item is split; an empty array: it is not.
 *
 * Errors: an unknown item, one with numbers or seats, more than
 * MAX_SPLIT_NODES nodes.
 */
Datum
seckill_split_set(PG_FUNCTION_ARGS)
{
	SplitNodes	split;
	TableCaller caller;

	seckill_check_writable("seckill_split_set()");
	seckill_share_check_preloaded();
	seckill_item_read_split(PG_GETARG_ARRAYTYPE_P(1), &split);
	seckill_table_begin(&caller);
	seckill_exchange_set_split(PG_GETARG_INT64(0), &split);
	seckill_table_end(&caller);
	PG_RETURN_VOID();
}

/*
 * seckill_share_state(item_id bigint)
 *		returns (now bigint, silent boolean, proved_until bigint,
 *				 smallest integer, grants boolean)
 *
 * The clock; whether this node has started too recently to promise anything;
 * until when all units are known to be at home, on home; the fewest units that
 * a buyer here waits for, 0 if none waits; and whether home may send units.
 */
Datum
seckill_share_state(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[5];
	bool		nulls[5] = {0};
	ShareView	view;
	ClockTime	now;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	seckill_share_check_preloaded();
	seckill_share_read(seckill_catalog()->items, PG_GETARG_INT64(0), &view);
	now = seckill_clock();
	values[0] = Int64GetDatum(now);
	values[1] = BoolGetDatum(now < view.silent_until);
	values[2] = Int64GetDatum(view.proved_until);
	values[3] = Int32GetDatum(seckill_share_smallest(seckill_catalog()->items,
													 PG_GETARG_INT64(0)));
	values[4] = BoolGetDatum(now >= view.keep_until);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/*
 * seckill_share_lock(item_id bigint)
 *		returns (free integer, vacant boolean)
 *
 * Locks a share until the end of the transaction, and puts its units on the
 * row.  free is their number; vacant, whether no other transaction holds any
 * that may come back.
 *
 * Waits for the item lock and the row.  Errors: an unknown item, one that is
 * not split, a node that may not sell.
 */
Datum
seckill_share_lock(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {0};
	LockedShare share;
	TableCaller caller;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	seckill_check_writable("seckill_share_lock()");
	seckill_table_begin(&caller);
	seckill_exchange_lock(PG_GETARG_INT64(0), &share);
	seckill_table_end(&caller);
	values[0] = Int32GetDatum(share.free);
	values[1] = BoolGetDatum(share.vacant);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/*
 * seckill_share_add(item_id bigint, units integer, numbers int8multirange)
 *		returns int8multirange
 *
 * Adds units that another node has sent to a locked share; a negative number
 * takes units that are sent to another node.  What home sends ends the proof
 * that all units are at home.  If the units have numbers, those that have come
 * are given, and those that are taken are returned, the empty set if none are;
 * NULL if the units are alike.
 */
Datum
seckill_share_add(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	NumberSet  *received = seckill_numbers_read(PG_GETARG_DATUM(2));
	NumberSet  *sent;
	Datum		result = (Datum) 0;
	MemoryContext caller_context = CurrentMemoryContext;

	seckill_check_writable("seckill_share_add()");
	seckill_share_check_preloaded();
	if (PG_GETARG_INT32(1) < 0)
		seckill_share_set_proof(seckill_catalog()->items, PG_GETARG_INT64(0), 0);
	seckill_table_begin(&caller);
	sent = seckill_exchange_add(PG_GETARG_INT64(0), PG_GETARG_INT32(1), received);
	if (sent != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(caller_context);

		result = seckill_numbers_datum(sent);
		MemoryContextSwitchTo(old);
	}
	if (PG_GETARG_INT32(1) < 0)
		SECKILL_FAULT("units given");
	else
		SECKILL_FAULT("answer applied");
	seckill_table_end(&caller);
	if (sent == NULL)
		PG_RETURN_NULL();
	return result;
}

/*
 * seckill_share_rejoin(item_id bigint, numbers int8multirange,
 *						lost int8multirange)
 *		returns integer
 *
 * After a restore: this node has these numbers of an item, whose share is
 * locked, and no others.  Orders and releases with others end, what no order
 * has is on sale, and numbers that are lost are off sale.  Returns how many
 * orders have ended.
 */
Datum
seckill_share_rejoin(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	NumberSet  *own = seckill_numbers_read(PG_GETARG_DATUM(1));
	NumberSet  *lost = seckill_numbers_read(PG_GETARG_DATUM(2));
	int			ended;

	seckill_check_writable("seckill_share_rejoin()");
	seckill_table_begin(&caller);
	ended = seckill_exchange_rejoin(PG_GETARG_INT64(0), own, lost);
	SECKILL_FAULT("numbers written after a restore");
	seckill_table_end(&caller);
	PG_RETURN_INT32(ended);
}

/*
 * seckill_share_forget(item_id bigint, numbers int8multirange) returns void
 *
 * Deletes the values of numbers that this node, which is not the home of the
 * item, does not have any more.
 */
Datum
seckill_share_forget(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	NumberSet  *numbers = seckill_numbers_read(PG_GETARG_DATUM(1));

	seckill_check_writable("seckill_share_forget()");
	seckill_table_begin(&caller);
	seckill_shares_forget(PG_GETARG_INT64(0), numbers);
	seckill_table_end(&caller);
	PG_RETURN_VOID();
}

/*
 * seckill_share_promise(item_id bigint, from_time bigint) returns boolean
 *
 * Promises that no unit appears in this share, which is locked and empty, for
 * the length of a promise from a time on.  Returns false, and promises
 * nothing, if this node has started too recently.
 */
Datum
seckill_share_promise(PG_FUNCTION_ARGS)
{
	bool		promised;

	seckill_share_check_preloaded();
	promised = seckill_share_make_promise(seckill_catalog()->items, PG_GETARG_INT64(0),
										  PG_GETARG_INT64(1) + SHARE_PROMISE);
	SECKILL_FAULT("promise made");
	PG_RETURN_BOOL(promised);
}

/*
 * seckill_share_prove(item_id bigint, round_began bigint) returns void
 *
 * On home, whose share is locked: all units are here, as the other nodes have
 * promised in a round that began at a time.
 */
Datum
seckill_share_prove(PG_FUNCTION_ARGS)
{
	seckill_share_check_preloaded();
	seckill_share_set_proof(seckill_catalog()->items, PG_GETARG_INT64(0),
							PG_GETARG_INT64(1) + SHARE_COUNTED(SHARE_PROMISE));
	PG_RETURN_VOID();
}

/*
 * seckill_share_certify(item_id bigint, asked_at bigint, length bigint)
 *		returns void
 *
 * The item is sold out on all nodes, as home has promised for a length of time
 * to a question that was asked at a time.
 */
Datum
seckill_share_certify(PG_FUNCTION_ARGS)
{
	ClockTime	until = PG_GETARG_INT64(1) + SHARE_COUNTED(PG_GETARG_INT64(2));
	CacheEntry *entry;

	seckill_share_check_preloaded();
	seckill_share_set_certified(seckill_catalog()->items, PG_GETARG_INT64(0), until);
	entry = seckill_entry_find(PG_GETARG_INT64(0));
	if (entry != NULL)
		seckill_cache_set_certified(entry, until);
	seckill_cache_unpin(entry);
	PG_RETURN_VOID();
}

/*
 * seckill_share_want(item_id bigint, units integer) returns void
 *
 * On home: another node waits for units, so have the share worker ask for those
 * of the others.
 */
Datum
seckill_share_want(PG_FUNCTION_ARGS)
{
	seckill_share_check_preloaded();
	(void) seckill_share_add_want(seckill_catalog()->items, PG_GETARG_INT64(0),
								  PG_GETARG_INT32(1), PG_GETARG_INT32(1));
	PG_RETURN_VOID();
}

/*
 * seckill_share_keep(item_id bigint, ms integer) returns void
 *
 * On home: send no units for so many milliseconds.
 */
Datum
seckill_share_keep(PG_FUNCTION_ARGS)
{
	seckill_share_check_preloaded();
	seckill_share_set_keep(seckill_catalog()->items, PG_GETARG_INT64(0),
						   seckill_clock() + USECS(PG_GETARG_INT32(1)));
	PG_RETURN_VOID();
}
