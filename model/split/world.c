/*
 * world.c
 *		The state of the model, and choices.
 *
 * Whatever can happen in more than one way asks choose().  A random run draws;
 * an exhaustive one runs the step again for each combination of choices.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../chance.h"
#include "world.h"

World		world;
Sale		sale;
Mutation	mutation = SOUND;

void		(*give_up) (const char *law);	/* reports, and does not return */

/* choices of the step that runs, in an exhaustive run */
int			choices[32];
int			widths[32];
int			nchoices;			/* that are given */
int			chosen;				/* that the step has asked for */

/* One of 0 to n - 1. */
int
choose(int n)
{
	if (!sale.exploring)
		return below(n);
	if (chosen == nchoices)
		choices[nchoices++] = 0;
	widths[chosen] = n;
	return choices[chosen++];
}

/* True with probability 1/n; either way in an exhaustive run. */
bool
maybe(int n)
{
	return sale.exploring ? choose(2) == 1 : below(n) == 0;
}

/* A new process, or NULL if there is no slot left. */
Proc *
add_proc(int kind, int node)
{
	Proc	   *p = world.procs;

	while (p < world.procs + world.nprocs && p->kind != NO_PROC)
		p++;
	if (p >= world.procs + (kind < SERVER ? CLIENTS : PROCS))
		return NULL;
	if (p == world.procs + world.nprocs)
		world.nprocs++;
	memset(p, 0, sizeof(Proc));
	p->kind = (uint8) kind;
	p->node = (uint8) node;
	p->at = world.now;
	return p;
}

/* The connection of the process is lost; a share worker is started again. */
void
end_proc(Proc *p)
{
	if (sale.exploring && p->kind == DRIVER)
		p->place = p->held = 0;
	else
		p->kind = NO_PROC;
}

int
proc_number(const Proc *p)
{
	return (int) (p - world.procs);
}

/* Let the process continue after a while, by the true time. */
void
sleep_for(Proc *p, int64 duration)
{
	if (!sale.exploring)
		p->at = world.now + duration;
}

int64
node_clock(const Node *x)
{
	return x->offset + world.now + world.now / 1000 * x->ppm / 1000;
}

int
node_number(const Node *x)
{
	return (int) (x - world.nodes);
}

/* Does the node sell and answer? */
bool
serves(const Node *x)
{
	return x->up && !x->t.recovering && node_clock(x) >= x->m.opens;
}

/* A law is broken, on the given node or, if x is NULL, on several. */
void
__attribute__((noreturn))
broken(const char *law, const Node *x)
{
	char		text[200];

	if (x == NULL)
		snprintf(text, sizeof(text), "%s", law);
	else
		snprintf(text, sizeof(text), "%s (node %d)", law, node_number(x));
	give_up(text);
	abort();
}
