/*
 * bisect.h
 *		Processing a batch in parts to isolate an element that fails.
 */
#ifndef SECKILL_WORKER_BISECT_H
#define SECKILL_WORKER_BISECT_H

#include "utils/elog.h"

/* A part of a batch, as it is handed to the callbacks. */
typedef struct BatchPart
{
	int			first;			/* index of its first element */
	int			n;				/* number of elements */
	ErrorData  *error;			/* what rolled it back, or NULL */
	bool		transient;		/* a later attempt may succeed */
} BatchPart;

/* How a batch is processed. */
typedef struct Bisection
{
	/*
	 * Process a part in one transaction.  Never raises: it sets error and
	 * transient of a part that was rolled back.  It may drop elements by
	 * moving those that it keeps to the front of the part and reducing n.
	 */
	void		(*attempt) (void *arg, BatchPart *part);

	/* Handle the permanent error of a part that has one element. */
	void		(*fail) (void *arg, const BatchPart *part);

	void	   *arg;

	/* Leave the batch undivided after a transient error. */
	bool		keep_whole;
} Bisection;

extern void seckill_bisect(const Bisection *bisection, int first, int n);

#endif							/* SECKILL_WORKER_BISECT_H */
