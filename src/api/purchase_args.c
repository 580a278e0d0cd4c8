/*
 * purchase_args.c
 *		Arguments of a purchase, and where a call in mode "queue" is allowed.
 *
 * Each function raises an error for an argument that is NULL, out of range or
 * not allowed, so a Purchase is valid once it is filled in.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "api/purchase_args.h"
#include "base/catalog.h"
#include "base/check.h"
#include "base/settings.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/ring.h"
#include "table/plan.h"

/*
 * Is the call part of a SELECT that the client sent as a statement of its own?
 *
 * It is not inside SPI.  It is not inside a function in SQL: the memory
 * context of the call is then not a child of the portal's context.  It is not
 * in a portal that can fail after the call (INSERT ... SELECT, CREATE TABLE
 * AS) or that runs at commit (WITH HOLD).
 */
static bool
is_top_level(FunctionCallInfo fcinfo)
{
	return !seckill_table_spi_in_use() &&
		fcinfo->flinfo != NULL && ActivePortal != NULL &&
		ActivePortal->strategy == PORTAL_ONE_SELECT &&
		(ActivePortal->cursorOptions & CURSOR_OPT_HOLD) == 0 &&
		MemoryContextGetParent(fcinfo->flinfo->fn_mcxt) ==
		ActivePortal->portalContext;
}

/*
 * Raise an error unless the call is a SELECT of its own, outside a transaction
 * block, in a transaction that has written nothing.
 *
 * The queue worker commits the purchases of many callers in one transaction,
 * so its decision stands even if the caller's transaction aborts.  So the
 * caller's transaction must do nothing else; PreventInTransactionBlock() also
 * makes it commit at once in a pipeline.  A caller that holds locks could also
 * wait for a worker that waits for these locks, a deadlock that the deadlock
 * detector does not see.  what names the function or mode in the message.
 */
void
seckill_args_check_outside_transaction(FunctionCallInfo fcinfo, const char *what)
{
	if (!is_top_level(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s can be used only by a SELECT of its own", what),
				 errdetail("Its purchases are committed by another process, whatever becomes of a function or command around the call."),
				 errhint("Buy with mode \"cache\" there.")));
	PreventInTransactionBlock(true, what);
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot be used by a statement that has written", what),
				 errhint("Call it as a statement of its own.")));
}

/*
 * Resolve mode "auto" by seckill.default_mode.  Raises an error if the mode is
 * not allowed, or needs shared memory and the library is not preloaded.
 */
static SeckillMode
check_mode(SeckillMode mode)
{
	if (mode == SECKILL_MODE_AUTO)
		mode = (SeckillMode) seckill_default_mode;
	if (mode == SECKILL_MODE_NONE && !seckill_allow_unsafe)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("mode \"none\" is not allowed"),
				 errdetail("It has no concurrency control and oversells."),
				 errhint("A superuser can set seckill.allow_unsafe to show what goes wrong.")));
	if (mode == SECKILL_MODE_CACHE)
		seckill_cache_check_preloaded("cache");
	if (mode == SECKILL_MODE_QUEUE)
		seckill_ring_check_preloaded();
	return mode;
}

/* Fill in a purchase; checks quantity (1 to the largest integer) and mode. */
void
seckill_args_init_purchase(Purchase *p, int64 item_id, int64 user_id,
						   int64 quantity, SeckillMode mode)
{
	memset(p, 0, sizeof(*p));
	p->item_id = item_id;
	p->user_id = user_id;
	p->quantity = seckill_check_units(quantity, "quantity");
	p->mode = p->selling_mode = check_mode(mode);
	p->outcome = SECKILL_QUEUED;
}

/*
 * Read argument i as request_id and argument i + 1 as token; both may be NULL.
 */
void
seckill_args_read_credentials(FunctionCallInfo fcinfo, int i, Purchase *p)
{
	p->has_request = !PG_ARGISNULL(i);
	if (p->has_request)
		p->request_id = *PG_GETARG_UUID_P(i);
	if (!PG_ARGISNULL(i + 1))
		p->token = PG_GETARG_TEXT_PP(i + 1);
}

/*
 * Read the arguments item_id, user_id and mode of a call that makes one
 * purchase, quantity if it is an argument (else 0; the quantity is 1 then), and
 * the credentials from argument i on; check them all.
 */
void
seckill_args_read(FunctionCallInfo fcinfo, const char *function,
				  int quantity, int i, Purchase *p)
{
	seckill_check_writable(function);
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "user_id");
	seckill_check_argument(PG_ARGISNULL(2), "mode");
	if (quantity > 0)
		seckill_check_argument(PG_ARGISNULL(quantity), "quantity");
	seckill_args_init_purchase(p, PG_GETARG_INT64(0), PG_GETARG_INT64(1),
							   quantity > 0 ? PG_GETARG_INT64(quantity) : 1,
							   seckill_catalog_mode(PG_GETARG_OID(2)));
	if (p->mode == SECKILL_MODE_QUEUE)
		seckill_args_check_outside_transaction(fcinfo, "mode \"queue\"");
	seckill_args_read_credentials(fcinfo, i, p);
}
