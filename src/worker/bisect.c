/*
 * bisect.c
 *		Processing a batch in parts to isolate an element that fails.
 *
 * A batch is first processed in one transaction.  If an error rolls it back,
 * each half is processed in a transaction of its own, and so on, until the
 * element that fails is alone.  The file keeps no state; its callers supply
 * the transactions (see bisect.h).
 */
#include "postgres.h"

#include "worker/bisect.h"

/*
 * Process n elements from first on.  A single element is not retried after a
 * transient error, nor is a batch that is to be kept whole: the caller's next
 * turn does that.  Raises only what the fail callback raises.
 */
void
seckill_bisect(const Bisection *bisection, int first, int n)
{
	BatchPart	part = {.first = first,.n = n};
	int			half;

	bisection->attempt(bisection->arg, &part);
	if (part.error == NULL ||
		(part.transient && (bisection->keep_whole || part.n == 1)))
		return;
	if (part.n == 1)
	{
		bisection->fail(bisection->arg, &part);
		return;
	}
	half = part.n / 2;
	seckill_bisect(bisection, first, half);
	seckill_bisect(bisection, first + half, part.n - half);
}
