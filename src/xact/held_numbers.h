/*
 * held_numbers.h
 *		The numbers of the units that the current transaction holds.
 */
#ifndef SECKILL_XACT_HELD_NUMBERS_H
#define SECKILL_XACT_HELD_NUMBERS_H

#include "seckill.h"

extern void seckill_held_numbers_reserve(int n);
extern void seckill_held_numbers_take(CacheEntry *entry, int64 lease_id,
									  int level, const int32 *numbers, int n);
extern void seckill_held_numbers_lease(CacheEntry *entry, int64 lease_id,
									   int level, const int32 *numbers, int n);
extern void seckill_held_numbers_sell_credit(CacheEntry *entry, int64 lease_id,
											 int level, int32 *numbers, int n);
extern bool seckill_held_numbers_remove(CacheEntry *entry, int64 lease_id,
										int level, const int32 *numbers,
										int n);
extern const int32 *seckill_held_numbers_to_return(CacheEntry *entry,
												   int64 lease_id, int level,
												   int *n);
extern const int32 *seckill_held_numbers_of_credit(CacheEntry *entry,
												   int64 lease_id, int *n);
extern void seckill_held_numbers_commit_level(int level);
extern void seckill_held_numbers_abort_level(int level);
extern void seckill_held_numbers_end(void);

#endif							/* SECKILL_XACT_HELD_NUMBERS_H */
