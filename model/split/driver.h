/*
 * driver.h
 *		The share workers, which move units, and the calls that they make.
 */
#ifndef SPLIT_DRIVER_H
#define SPLIT_DRIVER_H

#include "split.h"

extern uint64 calls;
extern uint64 rounds;
extern uint64 transfers;
extern void driver_step(Proc *p);
extern void server_step(Proc *p);
extern bool deliver(int i);
extern void begin_round(Proc *p, Node *x);
extern void begin_pull(Proc *p, Node *x);
extern bool has_answers(const Proc *p);

#endif							/* SPLIT_DRIVER_H */
