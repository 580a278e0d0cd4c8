/*
 * plan.h
 *		Statements with saved plans, and how they are run.
 */
#ifndef SECKILL_TABLE_PLAN_H
#define SECKILL_TABLE_PLAN_H

#include "datatype/timestamp.h"
#include "executor/spi.h"

#define MAX_ARGS	16

/* Placeholders for our own types, whose OIDs are known at run time only. */
#define MODE_TYPE	InvalidOid
#define STATE_TYPE	((Oid) 1)

/*
 * A statement: its text, the number and the types of its arguments, and its
 * plan.  It stands directly above the function that runs it.
 */
typedef struct SqlPlan
{
	const char *sql;
	int			nargs;
	Oid			types[MAX_ARGS];

	/* set by plan.c */
	SPIPlanPtr	saved;
	int			generation;		/* of the generic plan made under our settings */
	Oid			items;			/* OID of seckill.items when it was prepared */
} SqlPlan;

/* operators, independent of search_path */
#define EQ		" OPERATOR(pg_catalog.=) "
#define NE		" OPERATOR(pg_catalog.<>) "
#define GE		" OPERATOR(pg_catalog.>=) "
#define GT		" OPERATOR(pg_catalog.>) "
#define LE		" OPERATOR(pg_catalog.<=) "
#define LT		" OPERATOR(pg_catalog.<) "
#define PLUS	" OPERATOR(pg_catalog.+) "
#define MINUS	" OPERATOR(pg_catalog.-) "
#define XOR		" OPERATOR(pg_catalog.#) "
#define BITAND	" OPERATOR(pg_catalog.&) "
#define BITOR	" OPERATOR(pg_catalog.|) "
#define CONTAINS	" OPERATOR(pg_catalog.@>) "

/* The user to return to, while we run as an owner of the tables. */
typedef struct TableCaller
{
	Oid			user;
	int			context;
} TableCaller;

extern void seckill_table_begin(TableCaller *caller);
extern void seckill_table_end(const TableCaller *caller);
extern void seckill_table_switch_user(Oid user, TableCaller *previous);
extern void seckill_table_restore_user(const TableCaller *previous);
extern bool seckill_table_spi_in_use(void);
extern SPIPlanPtr seckill_plan_get(SqlPlan *plan);
extern int	seckill_plan_begin_generic(void);
extern void seckill_plan_end_generic(int nest);
extern uint64 seckill_plan_run_many(SqlPlan *plan, Datum *args);
extern uint64 seckill_plan_run(SqlPlan *plan, Datum *args);
extern uint64 seckill_plan_run_as(SqlPlan *plan, Datum *args, Oid owner);
extern uint64 seckill_plan_run_as_of_statement(SqlPlan *plan, Datum *args,
											   Oid owner);
extern uint64 seckill_plan_run_latest(SqlPlan *plan, Datum *args, Oid owner);
extern Datum seckill_plan_result_column(uint64 i, int number, Datum if_null);
extern Datum seckill_plan_int8_array(Datum *values, int n);
extern Datum seckill_plan_int4_array(Datum *values, int n);
extern Datum seckill_plan_multirange_array(Datum *values, int n);
extern void seckill_plan_copy_columns(Datum *values, bool *nulls);
extern Datum seckill_plan_array_with_nulls(Datum *values, bool *nulls, int n,
										   Oid type, int length, bool by_value,
										   char align);
extern TimestampTz seckill_plan_first_time(SqlPlan *plan, Datum *args, Oid owner);

#endif							/* SECKILL_TABLE_PLAN_H */
