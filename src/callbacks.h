/*
 * callbacks.h
 *		What happens when a transaction or subtransaction ends.
 */
#ifndef SECKILL_CALLBACKS_H
#define SECKILL_CALLBACKS_H

extern void seckill_callbacks_init(void);

#endif							/* SECKILL_CALLBACKS_H */
