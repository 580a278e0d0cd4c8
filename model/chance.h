/*
 * chance.h
 *		Pseudo-random numbers: the same seed gives the same run.
 */
#ifndef MODEL_CHANCE_H
#define MODEL_CHANCE_H

#include "types.h"

extern uint64 seed;
extern uint64 state;
extern int	below(int n);
extern bool one_in(int n);

#endif							/* MODEL_CHANCE_H */
