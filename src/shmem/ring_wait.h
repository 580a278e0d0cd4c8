/*
 * ring_wait.h
 *		The buyers' side of the queue.
 */
#ifndef SECKILL_SHMEM_RING_WAIT_H
#define SECKILL_SHMEM_RING_WAIT_H

#include "base/clock.h"
#include "seckill.h"

/* What is known of a ticket. */
typedef enum TicketState
{
	TICKET_QUEUED,				/* not decided yet */
	TICKET_DECIDED,				/* it has an outcome */
	TICKET_FAILED,				/* the worker got an error */
	TICKET_CANCELLED,			/* the buyer has left */
	TICKET_FORGOTTEN,			/* too old, or from before a restart */
	TICKET_ELSEWHERE,			/* of another node */
	TICKET_UNKNOWN				/* not a ticket */
} TicketState;

typedef struct TicketAnswer
{
	TicketState state;
	SeckillOutcome outcome;		/* if queued or decided */
	int64		order_id;		/* if sold */
	int			sqlstate;		/* if neither queued nor decided */
	char		message[256];
} TicketAnswer;

extern SeckillOutcome seckill_ring_buy(Purchase *p, int node);
extern void seckill_ring_submit(Purchase **list, int n);
extern void seckill_ring_abandon(void);
extern void seckill_ring_results(int node, const int64 *tickets, int n,
								 ClockTime until, TicketAnswer *answers);
extern SeckillOutcome seckill_ring_result(int node, int64 ticket,
										  ClockTime until, int64 *order_id);

#endif							/* SECKILL_SHMEM_RING_WAIT_H */
