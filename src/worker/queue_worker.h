/*
 * queue_worker.h
 *		TODO
 */
#ifndef SECKILL_WORKER_QUEUE_WORKER_H
#define SECKILL_WORKER_QUEUE_WORKER_H

extern void seckill_queue_worker_committed(void);

#endif							/* SECKILL_WORKER_QUEUE_WORKER_H */
