/*
 * nodes.h
 *		Nodes that start, crash, and are restored from an older copy.
 */
#ifndef SPLIT_NODES_H
#define SPLIT_NODES_H

#include "split.h"

extern uint64 crashes;
extern uint64 restores;
extern uint64 lost_orders;
extern void make_node(int node, int32 units, int32 total);
extern void start_node(Node *x);
extern void stop_node(Node *x, const Tables *copy);

#endif							/* SPLIT_NODES_H */
