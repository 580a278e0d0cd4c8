/*
 * rules.h
 *		TODO
 */
#ifndef SECKILL_SALE_RULES_H
#define SECKILL_SALE_RULES_H

#include "datatype/timestamp.h"

#include "seckill.h"

extern SeckillOutcome seckill_check_window(const SaleRules *rules,
										   TimestampTz now);
extern SeckillOutcome seckill_check_rules(Purchase *p);
extern SeckillOutcome seckill_check_rules_of_all(Purchase * *list, int n);
extern bool seckill_has_token(Purchase *p);
extern SeckillOutcome seckill_check_token(Purchase *p, SeckillOutcome outcome);
extern bool seckill_keeps_rate(Purchase *p);
extern int seckill_drop_rate_limited(Purchase * *list, int n);

#endif							/* SECKILL_SALE_RULES_H */
