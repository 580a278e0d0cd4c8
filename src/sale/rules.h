/*
 * rules.h
 *		The checks that a purchase passes before it asks for units.
 */
#ifndef SECKILL_SALE_RULES_H
#define SECKILL_SALE_RULES_H

#include "datatype/timestamp.h"

#include "seckill.h"

/* What the rules of an item say to a purchase. */
typedef enum RulesAnswer
{
	RULES_PASSED,				/* it may go on */
	RULES_NOT_STARTED,
	RULES_ENDED,
	RULES_SOLD_OUT,
	RULES_NO_TOKEN,
	RULES_ONE_BY_ONE,			/* it asks for several numbered units */
	RULES_UNKNOWN_ITEM,			/* there is no such item */
	RULES_MOVING,				/* it is being moved; or the node is closed */
	RULES_MOVED					/* it is sold on another node */
} RulesAnswer;

extern SeckillOutcome seckill_rules_refusal(RulesAnswer answer);
extern RulesAnswer seckill_rules_check_window(const SaleRules *rules,
											  TimestampTz now);
extern void seckill_rules_check_kind(const Purchase *p);
extern bool seckill_rules_refuse_elsewhere(Purchase **list, int n,
											   ItemPlace place);
extern RulesAnswer seckill_rules_check(Purchase *p);
extern RulesAnswer seckill_rules_check_all(Purchase **list, int n);
extern bool seckill_rules_has_token(Purchase *p);
extern RulesAnswer seckill_rules_check_own(Purchase *p, RulesAnswer answer);
extern bool seckill_rules_keeps_rate(Purchase *p);
extern bool seckill_rules_may_join(const Purchase *p, SeckillMode mode);
extern int	seckill_rules_drop_rate_limited(Purchase **list, int n);

#endif							/* SECKILL_SALE_RULES_H */
