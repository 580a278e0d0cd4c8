/*
 * mode_sql.c
 *		TODO
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/builtins.h"

#include "base/catalog.h"

PG_FUNCTION_INFO_V1(seckill_mode);

/*
 * seckill_mode(text) returns seckill_mode
 *
 * The function behind the implicit casts, for callers who declare the type of
 * what they send.  Says what enum_in() says, and what the labels are.
 */
Datum
seckill_mode(PG_FUNCTION_ARGS)
{
	text	   *label = PG_GETARG_TEXT_PP(0);
	Oid			value = seckill_catalog_find_mode(VARDATA_ANY(label),
												  VARSIZE_ANY_EXHDR(label));

	if (OidIsValid(value))
		PG_RETURN_OID(value);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input value for enum %s: \"%s\"",
					"seckill_mode", text_to_cstring(label)),
			 errhint("The modes are auto, cache, queue, retry, optimistic, pessimistic, advisory and none.")));
}
