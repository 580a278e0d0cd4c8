/*
 * direct.c
 *		What direct writes of orders and items have in common.
 *
 * A statement through SPI spends more on the start of the executor than on the
 * row: it locks and checks what it did the call before, parses the constraints
 * anew, and sets up a plan of one node.  Where a table has nothing but what the
 * extension made, all that is known in advance.  Then order_direct.c and
 * item_direct.c form the rows, and call the server's own functions that write
 * them and the entries of all indexes, whatever indexes there are.
 *
 * Whether a table has anything else is read from its relation's cache entry.
 * If so, or if an extension watches the rights of statements, the caller uses
 * SQL, which knows what to do.  The answer is kept until the catalog cache is
 * invalidated; whatever changes the table does that, and takes a lock that
 * conflicts with ours or waits for our transaction (CREATE INDEX CONCURRENTLY).
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/settings.h"
#include "table/direct.h"

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
