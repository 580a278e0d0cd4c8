/*
 * laws.h
 *		The laws that must hold after each commit and after each step.
 */
#ifndef MODEL_LAWS_H
#define MODEL_LAWS_H

#include "model.h"

typedef struct Trace
{
	uint64		step;
	int			txn;
	int			item;
	const char *what;
	ItemRow		row;
	Entry		entry;
} Trace;

#define TRACE		400			/* steps that are kept */

extern int32 unsold[ITEMS];
extern uint64 round_seed;
extern uint64 steps;
extern Trace trace[TRACE];
extern void __attribute__((noreturn)) broken(const char *law, int item);
extern void look_at_tables(void);
extern void check_entry(const Entry *entry);
extern void note_order(const Order *before, const Order *now);
extern int32 reach(const Txn *t, int item);
extern void note_reach(void);

#endif							/* MODEL_LAWS_H */
