/*
 * launcher.h
 *		Registration of the launcher; its entry point is for the postmaster only.
 */
#ifndef SECKILL_WORKER_LAUNCHER_H
#define SECKILL_WORKER_LAUNCHER_H

extern void seckill_launcher_init(void);

#endif							/* SECKILL_WORKER_LAUNCHER_H */
