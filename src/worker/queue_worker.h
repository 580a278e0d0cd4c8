/*
 * queue_worker.h
 *		The queue worker's part of the commit callback; its entry point is for
 *		the postmaster only.
 */
#ifndef SECKILL_WORKER_QUEUE_WORKER_H
#define SECKILL_WORKER_QUEUE_WORKER_H

extern void seckill_queue_worker_committed(void);

#endif							/* SECKILL_WORKER_QUEUE_WORKER_H */
