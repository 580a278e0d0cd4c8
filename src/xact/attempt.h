/*
 * attempt.h
 *		Work in a subtransaction that can be taken back.
 */
#ifndef SECKILL_XACT_ATTEMPT_H
#define SECKILL_XACT_ATTEMPT_H

extern bool seckill_attempt(bool (*work) (void *arg), void *arg);

#endif							/* SECKILL_XACT_ATTEMPT_H */
