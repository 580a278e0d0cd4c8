/*
 * chance.h
 *		Pseudo-random numbers: a run is the same for the same seed.
 */
#ifndef MODEL_CHANCE_H
#define MODEL_CHANCE_H

#include "model.h"

extern uint64 seed;
extern uint64 state;
extern int	below(int n);
extern bool one_in(int n);

#endif							/* MODEL_CHANCE_H */
