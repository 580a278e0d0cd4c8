/*
 * rules.h
 *		TODO
 */
#ifndef SECKILL_SALE_RULES_H
#define SECKILL_SALE_RULES_H

#include "datatype/timestamp.h"

#include "seckill.h"

extern SeckillOutcome seckill_rules_check_window(const SaleRules *rules,
												 TimestampTz now);
extern SeckillOutcome seckill_rules_check(Purchase *p);
extern SeckillOutcome seckill_rules_check_all(Purchase **list, int n);
extern bool seckill_rules_has_token(Purchase *p);
extern SeckillOutcome seckill_rules_check_token(Purchase *p, SeckillOutcome outcome);
extern bool seckill_rules_keeps_rate(Purchase *p);
extern int	seckill_rules_drop_rate_limited(Purchase **list, int n);

#endif							/* SECKILL_SALE_RULES_H */
