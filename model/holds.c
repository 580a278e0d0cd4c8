/*
 * holds.c
 *		What a transaction holds of the cache: src/xact.c of the extension.
 */
#include <string.h>

#include "cache.h"
#include "holds.h"
#include "steps.h"
#include "world.h"

Claim *
find_claim(Txn *t, Entry *entry, int level, int64 lease_id)
{
	for (int i = 0; i < t->nclaims; i++)
		if (t->claims[i].entry == entry && t->claims[i].level == level &&
			t->claims[i].lease_id == lease_id)
			return &t->claims[i];
	return NULL;
}

Claim *
get_claim(Txn *t, Entry *entry, int64 lease_id)
{
	Claim	   *claim = find_claim(t, entry, t->level, lease_id);

	if (claim != NULL)
		return claim;
	t->wrote = true;
	claim = &t->claims[t->nclaims++];
	memset(claim, 0, sizeof(Claim));
	claim->entry = entry;
	claim->level = t->level;
	claim->xid = t->xid[t->level];
	claim->lease_id = lease_id;
	return claim;
}

void
publish(Claim *claim)
{
	claim->shown = claim->hold > 0 || claim->credit > 0;
}

void
drop_claim(Txn *t, Claim *claim)
{
	*claim = t->claims[--t->nclaims];
}

bool
xact_has_room(const Txn *t)
{
	return t->nclaims <= CLAIMS - 3;
}

static int32
own_credit(const Txn *t, const Entry *entry, int64 lease_id)
{
	int32		credit = 0;

	for (int i = 0; i < t->nclaims; i++)
		if (t->claims[i].entry == entry && t->claims[i].lease_id == lease_id)
			credit += t->claims[i].credit;
	return credit;
}

StockOwn
xact_own(const Txn *t, const Entry *entry)
{
	StockOwn	own = {.lease_id = entry->c.lease_id};

	own.credit = own_credit(t, entry, own.lease_id);
	own.held = own.credit;
	for (int i = 0; i < t->nclaims; i++)
		if (t->claims[i].entry == entry &&
			t->claims[i].lease_id == own.lease_id)
			own.held += t->claims[i].hold;
	return own;
}

/* Put from min to max units of the cache on hold; returns how many. */
int32
take_between(Txn *t, Entry *entry, int32 min, int32 max, int64 *lease_id)
{
	int32		units;

	*lease_id = entry->c.lease_id;
	units = counters_take(&entry->c, min, max);
	if (units > 0)
	{
		get_claim(t, entry, *lease_id)->hold += units;
		step_on(t, "take");
		/* a level cannot end meanwhile: the claim is still there */
		publish(find_claim(t, entry, t->level, *lease_id));
		step(t, "publish");
	}
	return units;
}

/* Put quantity units on hold, from our own credit first. */
bool
xact_take(Txn *t, Entry *entry, int32 quantity, int64 *lease_id)
{
	int32		drawn = own_credit(t, entry, entry->c.lease_id);
	Claim	   *claim;

	if (drawn == 0)
		return take_between(t, entry, quantity, quantity, lease_id) > 0;
	drawn = drawn < quantity ? drawn : quantity;
	*lease_id = entry->c.lease_id;
	if (drawn < quantity &&
		counters_take(&entry->c, quantity - drawn, quantity - drawn) == 0)
		return false;
	claim = get_claim(t, entry, *lease_id);
	claim->hold += quantity - drawn;
	claim->credit -= drawn;
	stock_adjust(entry, *lease_id, 0, -drawn);
	publish(claim);
	step(t, "take with credit");
	return true;
}

/* Give back what xact_take() took; what came from credit stays a hold. */
void
xact_return(Txn *t, Entry *entry, int64 lease_id, int32 units)
{
	Claim	   *claim = find_claim(t, entry, t->level, lease_id);

	if (claim == NULL || claim->hold < units)
		raise_error(t);
	claim->hold -= units;
	stock_adjust(entry, lease_id, units, -units);
	publish(claim);
	if (claim->hold == 0 && claim->credit == 0 && !claim->refiller)
		drop_claim(t, claim);
}

void
undo_claim(Txn *t, Claim *claim)
{
	stock_adjust(claim->entry, claim->lease_id, claim->hold,
				 -(claim->hold + claim->credit));
	if (claim->refiller)
		claim->entry->refilling = false;
	drop_claim(t, claim);
	step_on(t, "abort: give back");
}

void
commit_claim(Txn *t, Claim *claim)
{
	int32		credit = mutation == CREDIT_BEFORE_COMMIT ? 0 : claim->credit;

	stock_adjust(claim->entry, claim->lease_id, credit,
				 -(claim->hold + claim->credit));
	if (claim->refiller)
		claim->entry->refilling = false;
	drop_claim(t, claim);
	step_on(t, "commit: release claim");
}
