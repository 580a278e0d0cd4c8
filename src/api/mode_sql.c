/*
 * mode_sql.c
 *		seckill_mode(): the cast from text to the type seckill_mode.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/builtins.h"

#include "base/catalog.h"

PG_FUNCTION_INFO_V1(seckill_mode);

/*
 * seckill_mode(label text) returns seckill_mode
 *
 * Returns the mode with this label.  It implements the implicit casts from
 * text and varchar, which clients need that declare the types of their
 * parameters.  An unknown label raises the error of enum_in(), with a hint
 * that lists the modes.
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
