/*
 * buyer.h
 *		Purchases on a node of a split sale.
 */
#ifndef SPLIT_BUYER_H
#define SPLIT_BUYER_H

#include "split.h"

extern uint64 outcomes[OUTCOMES];
extern uint64 remembered;
extern void buyer_step(Proc *p);

#endif							/* SPLIT_BUYER_H */
