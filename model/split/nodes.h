/*
 * nodes.h
 *		Nodes that start, crash, are restored from an older copy, or are left
 *		out.
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
extern void leave_out(Node *home, int satellite);

#endif							/* SPLIT_NODES_H */
