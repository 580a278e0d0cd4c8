/*
 * random.h
 *		Sales with random steps, clocks and faults.
 */
#ifndef SPLIT_RANDOM_H
#define SPLIT_RANDOM_H

#include "split.h"

extern uint64 sale_seed;
extern uint64 steps;
extern uint64 sales;
extern uint64 shortfalls;
extern uint64 given_up;
extern int64 fault_ms;
extern void play_sale(void);
extern void print_trace(void);

#endif							/* SPLIT_RANDOM_H */
