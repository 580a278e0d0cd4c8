/*
 * mute.c
 *		A trigger that raises an error with a code and no message.
 */
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(mute);

Datum
mute(PG_FUNCTION_ARGS)
{
	ereport(ERROR, errcode(ERRCODE_RAISE_EXCEPTION));
	PG_RETURN_NULL();
}
