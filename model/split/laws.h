/*
 * laws.h
 *		The laws that must hold after each step.
 */
#ifndef SPLIT_LAWS_H
#define SPLIT_LAWS_H

#include "split.h"

extern int32 offered(void);
extern void note_sold(const Proc *p, int32 order);
extern void note_sold_out(const Proc *p);
extern void note_step(void);
extern void check_world(void);

#endif							/* SPLIT_LAWS_H */
