/*
 * steps.h
 *		The scheduler, which picks the transaction that continues after an
 *		atomic step; waiting and deadlocks.
 */
#ifndef MODEL_STEPS_H
#define MODEL_STEPS_H

#include "model.h"

extern bool is_ready(const Txn *t);
extern void yield(Txn *t);
extern void stop_waiting(Txn *t);
extern void reset(Txn *t);
extern void raise_error(Txn *t);
extern void step_on(Txn *t, const char *what);
extern void step(Txn *t, const char *what);
extern void detect_deadlock(Txn *t);
extern bool try_lock(Txn *t, Lock *lock);
extern void await_lock(Txn *t, const Lock *lock, const char *what);
extern void take_lock(Txn *t, Lock *lock, const char *what);
extern void start_coroutine(Txn *t, void (*run) (Txn *t));
extern void run_all(void);

#endif							/* MODEL_STEPS_H */
