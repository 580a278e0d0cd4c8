/*
 * world.h
 *		The state of the model, and choices.
 */
#ifndef SPLIT_WORLD_H
#define SPLIT_WORLD_H

#include "split.h"

extern World world;
extern Sale sale;
extern Mutation mutation;
extern void (*give_up) (const char *law);
extern int	choices[];
extern int	widths[];
extern int	nchoices;
extern int	chosen;
extern int	choose(int n);
extern bool maybe(int n);
extern Proc *add_proc(int kind, int node);
extern void end_proc(Proc *p);
extern int	proc_number(const Proc *p);
extern void sleep_for(Proc *p, int64 duration);
extern int64 node_clock(const Node *x);
extern int	node_number(const Node *x);
extern bool serves(const Node *x);
extern void __attribute__((noreturn)) broken(const char *law, const Node *x);

#endif							/* SPLIT_WORLD_H */
