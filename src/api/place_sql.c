/*
 * place_sql.c
 *		What the extension seckill_cluster needs of this one: to change where an
 *		item is sold, to let one copy of an item arrive at a time, to wake the
 *		maintenance worker, and to compare keys.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/check.h"
#include "sale/place.h"
#include "sale/token.h"
#include "seckill.h"
#include "shmem/schedule.h"
#include "table/plan.h"
#include "xact/lock.h"

PG_FUNCTION_INFO_V1(seckill_set_place);
PG_FUNCTION_INFO_V1(seckill_lock_arrival);
PG_FUNCTION_INFO_V1(seckill_wake_maintenance);
PG_FUNCTION_INFO_V1(seckill_key_fingerprint);

/*
 * seckill_set_place(item_id bigint, from_place text, to_place text)
 *		returns void
 *
 * Changes where an item is sold, from one place to another: here, moving,
 * arriving or gone.  An item that is sold here is stopped: all its units are
 * put on its row.  Waits for the calls that are changing the item.
 *
 * Errors: a NULL argument, an unknown item or place, an item that is in
 * another place.
 */
Datum
seckill_set_place(PG_FUNCTION_ARGS)
{
	TableCaller caller;
	ItemPlace	from;
	ItemPlace	to;

	seckill_check_writable("seckill_set_place()");
	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_check_argument(PG_ARGISNULL(1), "from_place");
	seckill_check_argument(PG_ARGISNULL(2), "to_place");
	from = seckill_place_of(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	to = seckill_place_of(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	seckill_table_begin(&caller);
	seckill_place_set(PG_GETARG_INT64(0), from, to);
	seckill_table_end(&caller);
	PG_RETURN_VOID();
}

/*
 * seckill_lock_arrival(item_id bigint) returns void
 *
 * Waits for the other steps of moves of the item to this node, and keeps them
 * out until the end of the transaction.  An item that is not here yet has no
 * row that could be locked.
 */
Datum
seckill_lock_arrival(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag;

	seckill_check_argument(PG_ARGISNULL(0), "item_id");
	seckill_lock_tag(&tag, PG_GETARG_INT64(0), SECKILL_LOCK_ARRIVAL);
	(void) seckill_lock_acquire(&tag, ExclusiveLock, true);
	PG_RETURN_VOID();
}

/*
 * seckill_wake_maintenance(at timestamptz) returns void
 *
 * Once this transaction has committed, has the maintenance worker look at this
 * time.
 */
Datum
seckill_wake_maintenance(PG_FUNCTION_ARGS)
{
	seckill_check_argument(PG_ARGISNULL(0), "at");
	seckill_schedule_note(PG_GETARG_TIMESTAMPTZ(0));
	PG_RETURN_VOID();
}

/*
 * seckill_key_fingerprint() returns text
 *
 * A short checksum of seckill.token_key, by which nodes find out whether they
 * have the same key; NULL if there is none.
 */
Datum
seckill_key_fingerprint(PG_FUNCTION_ARGS)
{
	text	   *fingerprint = seckill_token_fingerprint();

	if (fingerprint == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(fingerprint);
}
