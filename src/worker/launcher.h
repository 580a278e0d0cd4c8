/*
 * launcher.h
 *		Registration of the launcher; only the postmaster calls its entry point.
 */
#ifndef SECKILL_WORKER_LAUNCHER_H
#define SECKILL_WORKER_LAUNCHER_H

extern void seckill_launcher_init(void);

#endif							/* SECKILL_WORKER_LAUNCHER_H */
