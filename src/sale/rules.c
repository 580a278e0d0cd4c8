/*
 * rules.c
 *		TODO
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/check.h"
#include "base/fault.h"
#include "base/settings.h"
#include "sale/rules.h"
#include "sale/token.h"
#include "seckill.h"
#include "shmem/cache_counters.h"
#include "shmem/rate.h"
#include "table/item_row.h"
#include "xact/changes.h"
#include "xact/entry.h"

/* How long the cache answers before somebody looks at the row again. */
#define CHECK_INTERVAL	USECS_PER_SEC


/*
 * Rules
 */

/* The outcome of a purchase that the rules refuse. */
SeckillOutcome
seckill_rules_refusal(RulesAnswer answer)
{
	switch (answer)
	{
		case RULES_NOT_STARTED:
			return SECKILL_NOT_STARTED;
		case RULES_ENDED:
			return SECKILL_ENDED;
		case RULES_SOLD_OUT:
			return SECKILL_SOLD_OUT;
		case RULES_NO_TOKEN:
			return SECKILL_DENIED;
		case RULES_PASSED:
			break;
	}
	elog(ERROR, "no refusal: %d", (int) answer);
	pg_unreachable();
}

/* Is the sale open? */
RulesAnswer
seckill_rules_check_window(const SaleRules *rules, TimestampTz now)
{
	if (now < rules->starts_at)
		return RULES_NOT_STARTED;
	if (now >= rules->ends_at)
		return RULES_ENDED;
	return RULES_PASSED;
}

/*
 * Read the rules from the row, and keep them in the entry.
 */
static RulesAnswer
check_row(Purchase *p)
{
	uint64		generation = p->entry != NULL ?
		seckill_cache_generation(p->entry) : 0;
	ItemRow		row;
	bool		found = p->mode == SECKILL_MODE_QUEUE ?
		seckill_item_read_latest_unlocked(p->item_id, &row) :
		seckill_item_read_latest(p->item_id, &row);

	if (!found)
		seckill_unknown_item(p->item_id);

	if (p->entry == NULL)
		p->entry = seckill_entry_enter(p->item_id);
	else
		seckill_cache_store_rules(p->entry, generation, &row, p->called_at);
	p->rules = row.rules;
	return seckill_rules_check_window(&row.rules, p->called_at);
}

/* Is it time to look at the row again?  Clocks can go back, too. */
static bool
is_stale(const CachedRules *glance, TimestampTz now)
{
	return now - glance->checked_at > CHECK_INTERVAL ||
		now < glance->checked_at - CHECK_INTERVAL;
}

/*
 * What is known of the item without asking its units: from the entry, read
 * anew at least once in CHECK_INTERVAL by one session, or from the row.
 * Leaves the entry pinned in p.
 */
RulesAnswer
seckill_rules_check(Purchase *p)
{
	TimestampTz now = GetCurrentTimestamp();
	CachedRules glance;
	RulesAnswer answer;

	p->called_at = now;
	p->entry = seckill_entry_find(p->item_id);
	if (p->entry == NULL || seckill_change_changed_row(p->item_id))
		return check_row(p);

	seckill_cache_read_rules(p->entry, &glance);
	if (!glance.known ||
		(is_stale(&glance, now) &&
		 seckill_cache_claim_check(p->entry, glance.checked_at, now)))
	{
		answer = check_row(p);
		seckill_cache_read_rules(p->entry, &glance);
	}
	else
	{
		p->rules = glance.rules;
		answer = seckill_rules_check_window(&glance.rules, now);
	}
	SECKILL_FAULT("rules known");
	if (answer == RULES_PASSED && glance.sold_out)
		return RULES_SOLD_OUT;
	return answer;
}

/* The same for a list of purchases of one item, with one look for all. */
RulesAnswer
seckill_rules_check_all(Purchase **list, int n)
{
	Purchase   *first = list[0];
	RulesAnswer answer = seckill_rules_check(first);

	for (int i = 1; i < n; i++)
	{
		Purchase   *p = list[i];

		p->entry = first->entry;
		p->called_at = first->called_at;
		p->rules = first->rules;
	}
	return answer;
}


/*
 * Tokens and rates
 */

/* Does the purchase have the token that it needs, if it needs one? */
bool
seckill_rules_has_token(Purchase *p)
{
	if (!p->rules.require_token)
		return true;
	if (!p->token_checked)
	{
		p->token_valid = seckill_token_admits(p);
		p->token_checked = true;
	}
	return p->token_valid;
}

/* Who needs a token and has none is denied, and learns nothing of the stock. */
RulesAnswer
seckill_rules_check_token(Purchase *p, RulesAnswer answer)
{
	if ((answer == RULES_PASSED || answer == RULES_SOLD_OUT) &&
		!seckill_rules_has_token(p))
		return RULES_NO_TOKEN;
	return answer;
}

/*
 * Count the call of the user, and refuse it if it is one too many.  Who needs
 * a token and has none may not be the user that he names: his calls do not
 * count.  Without a key nobody has one; that is an error, but not here, as an
 * exact retry needs none.
 */
bool
seckill_rules_keeps_rate(Purchase *p)
{
	if (!seckill_rate_applies(p) ||
		(p->rules.require_token &&
		 (seckill_token_key[0] == '\0' || !seckill_rules_has_token(p))) ||
		seckill_rate_admits(p))
		return true;
	p->outcome = SECKILL_RATE_LIMITED;
	return false;
}

/* Leave those in the list who keep to their rate; returns their number. */
int
seckill_rules_drop_rate_limited(Purchase **list, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
		if (seckill_rules_keeps_rate(list[i]))
			list[kept++] = list[i];
	return kept;
}
