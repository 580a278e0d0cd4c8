/*
 * limits.h
 *		Admission of purchases: request ids and limits per user.
 */
#ifndef SECKILL_SALE_LIMITS_H
#define SECKILL_SALE_LIMITS_H

#include "seckill.h"

extern bool seckill_limits_locked_by_me(const Purchase *p);
extern bool seckill_limits_answer_request(Purchase *p);
extern int	seckill_limits_admit_requests(Purchase **list, int n, bool may_wait);
extern void seckill_limits_answer_duplicates(Purchase **list, int n);
extern int	seckill_limits_admit_users(Purchase **list, int n, bool may_wait);

#endif							/* SECKILL_SALE_LIMITS_H */
