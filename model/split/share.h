/*
 * share.h
 *		The share of a node: its row, cache and orders.
 */
#ifndef SPLIT_SHARE_H
#define SPLIT_SHARE_H

#include "split.h"

extern Tables before[NODES];
extern Tables *change(Node *x);
extern int32 sold_on_lease(const Tables *t);
extern int32 unsold(const Tables *t);
extern int32 live_units(const Tables *t);
extern NumberSet kept_numbers(const Tables *t);
extern NumberSet share_numbers(const Node *x);
extern NumberSet leased_numbers(const Node *x);
extern bool try_row(Node *x, const Proc *p);
extern void free_row(Node *x);
extern bool take_units(Node *x, Proc *p, int32 min, int32 max);
extern void return_units(Node *x, Proc *p);
extern void settle(Node *x);
extern void refill(Node *x);
extern void give_up_lease(Node *x, Proc *p);
extern NumberSet take_from_row(Tables *t, int32 units);
extern Order *insert_order(Node *x, const Proc *p, NumberSet numbers);
extern void end_order(Node *x, int32 order);
extern bool nothing_here(const Node *x);
extern bool has_gate(const Node *x);
extern bool has_no_users(int node);

#endif							/* SPLIT_SHARE_H */
