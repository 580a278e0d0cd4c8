/*
 * queue_worker.h
 *		The queue worker's part of the commit callback; only the postmaster calls
 *		its entry point.
 */
#ifndef SECKILL_WORKER_QUEUE_WORKER_H
#define SECKILL_WORKER_QUEUE_WORKER_H

extern void seckill_queue_worker_committed(void);

#endif							/* SECKILL_WORKER_QUEUE_WORKER_H */
