/*
 * returns.h
 *		Units that come back: cancels, restocks, seckill_set_available.
 */
#ifndef SPLIT_RETURNS_H
#define SPLIT_RETURNS_H

#include "split.h"

extern uint64 returns;
extern uint64 exact_cuts;
extern int64 longest_return;
extern void returner_step(Proc *p);
extern void setter_step(Proc *p);

#endif							/* SPLIT_RETURNS_H */
