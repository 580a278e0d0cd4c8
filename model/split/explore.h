/*
 * explore.h
 *		All orders of steps of tiny sales.
 */
#ifndef SPLIT_EXPLORE_H
#define SPLIT_EXPLORE_H

#include "split.h"

extern bool explore(int number, uint64 limit);
extern int	ncases(void);
extern void print_path(void);

#endif							/* SPLIT_EXPLORE_H */
