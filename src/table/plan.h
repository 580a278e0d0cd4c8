/*
 * plan.h
 *		TODO
 */
#ifndef SECKILL_TABLE_PLAN_H
#define SECKILL_TABLE_PLAN_H

#include "datatype/timestamp.h"
#include "executor/spi.h"

#define MAX_ARGS	11

/* Stand for our own types, whose OIDs are known at run time only. */
#define MODE_TYPE	InvalidOid
#define STATE_TYPE	((Oid) 1)

/*
 * A statement and its plan.  One stands above each function that runs it:
 * the text, and the number and types of its arguments.
 */
typedef struct SqlPlan
{
	const char *sql;
	int			nargs;
	Oid			types[MAX_ARGS];

	/* kept by plan.c */
	SPIPlanPtr	saved;
	int			generation;		/* of the generic plan that was made for it */
	Oid			items;			/* incarnation of seckill.items that it is for */
} SqlPlan;

/* operators, whatever the search_path */
#define EQ		" OPERATOR(pg_catalog.=) "
#define NE		" OPERATOR(pg_catalog.<>) "
#define GE		" OPERATOR(pg_catalog.>=) "
#define GT		" OPERATOR(pg_catalog.>) "
#define LE		" OPERATOR(pg_catalog.<=) "
#define PLUS	" OPERATOR(pg_catalog.+) "
#define MINUS	" OPERATOR(pg_catalog.-) "
#define XOR		" OPERATOR(pg_catalog.#) "

/* Who has called, while we are the owner of the tables. */
typedef struct LedgerCaller
{
	Oid			user;
	int			context;
} LedgerCaller;

extern void seckill_ledger_begin(LedgerCaller *caller);
extern void seckill_ledger_end(const LedgerCaller *caller);
extern bool seckill_ledger_is_nested(void);
extern SPIPlanPtr seckill_get_plan(SqlPlan *plan);
extern void seckill_become(Oid user, LedgerCaller *self);
extern int seckill_begin_generic(void);
extern void seckill_end_generic(int nest);
extern uint64 seckill_run_many(SqlPlan *plan, Datum *args);
extern uint64 seckill_run(SqlPlan *plan, Datum *args);
extern uint64 seckill_run_latest(SqlPlan *plan, Datum *args, Oid owner);
extern Datum seckill_result_column(uint64 i, int number, Datum if_null);
extern Datum seckill_int8_array(Datum *values, int n);
extern Datum seckill_int4_array(Datum *values, int n);
extern void seckill_copy_columns(Datum *values, bool *nulls);
extern Datum seckill_array_with_nulls(Datum *values, bool *nulls, int n,
									  Oid type, int length, bool by_value,
									  char align);
extern TimestampTz seckill_first_time(SqlPlan *plan, Datum *args, Oid owner);

#endif							/* SECKILL_TABLE_PLAN_H */
