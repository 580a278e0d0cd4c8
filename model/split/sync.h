/*
 * sync.h
 *		The transactions that move units between nodes, and prove sold_out.
 */
#ifndef SPLIT_SYNC_H
#define SPLIT_SYNC_H

#include "split.h"

/* What a giver has just done, for faults that aim at that moment. */
typedef struct Served
{
	int			node;			/* NOBODY: nothing */
	bool		given;
	bool		promised;
} Served;

extern Served served;
extern Msg	make_call(Node *x, int peer, int kind);
extern void sync_serve(Node *x, Proc *server, Msg *reply);
extern void sync_hello(Node *x, const Msg *call, Msg *reply);
extern bool sync_apply(Node *x, const Msg *reply);
extern bool totals_agree(const Channel *channel, const Msg *answer);
extern void sync_prove(Node *x, const Proc *driver);
extern bool sync_rejoin(Node *x, Proc *driver, int32 incarnation);

#endif							/* SPLIT_SYNC_H */
