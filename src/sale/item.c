/*
 * item.c
 *		Items: created, changed, restocked, read.
 *
 * A change of settings or units takes the item lock and then the row.  Units
 * are added to the row or taken from it; what the row lacks is taken from the
 * item's lease.  Each such change also counts in "supplied", the number of
 * units that were ever put on sale.
 *
 * Reading takes no lock.  It combines the row with the counters of the cache
 * entry, and uses the entry's generation to tell whether both are of the same
 * moment.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/check.h"
#include "base/fault.h"
#include "base/number_set.h"
#include "sale/await.h"
#include "sale/decide.h"
#include "sale/item.h"
#include "sale/item_lock.h"
#include "sale/lease.h"
#include "sale/place.h"
#include "sale/rules.h"
#include "sale/settle.h"
#include "sale/share.h"
#include "seckill.h"
#include "shmem/cache.h"
#include "shmem/cache_counters.h"
#include "shmem/counters.h"
#include "shmem/numbers.h"
#include "table/commitments.h"
#include "table/item_row.h"
#include "table/item_settings.h"
#include "table/items.h"
#include "table/numbered_items.h"
#include "table/row_lock.h"
#include "table/seats.h"
#include "xact/changes.h"
#include "xact/entry.h"
#include "xact/hold.h"
#include "xact/standby.h"

/* SQLSTATE if too few units are left to be removed; others are in order.c. */
#define ERRCODE_UNITS_MISSING	MAKE_SQLSTATE('S','K','0','0','4')

/* Maximum number of INSERTs, if they insert no row. */
#define MAX_INSERTS	3

/* Maximum number of reads of row and cache, to get both of one moment. */
#define MAX_READS	10


/*
 * Settings
 */

/*
 * Return the value of an unset setting: false for booleans, confirmed for
 * reveal_on, and NULL for the others.
 */
void
seckill_item_reset_setting(int setting, Datum *value, bool *isnull)
{
	*value = setting == SETTING_REVEAL_ON ?
		ObjectIdGetDatum(seckill_catalog()->state[ORDER_CONFIRMED]) :
		BoolGetDatum(false);
	*isnull = setting != SETTING_REQUIRE_TOKEN &&
		setting != SETTING_NUMBERED && setting != SETTING_REVEAL_ON;
}


/*
 * Create and change
 */

bool
seckill_item_exists(int64 item_id)
{
	ItemRow		row;

	return seckill_item_read_latest(item_id, &row);
}

/* Copy the named settings of a change to the details of an item. */
static void
apply_change(ItemDetails *item, const Change *change)
{
	for (int i = 0; i < ITEM_SETTINGS; i++)
		if (change->named[i])
		{
			item->settings[i] = change->values[i];
			item->nulls[i] = change->nulls[i];
		}
}

/*
 * Create an item; return false if it exists by now.  Raises an error if the
 * stock is not named.
 *
 * If the INSERT inserts no row and the item does not exist, another session
 * may have created and deleted it meanwhile, so the INSERT is retried.  If
 * that happens each time, a trigger or rule skips the row, which is an error.
 */
bool
seckill_item_create(int64 item_id, const Change *change)
{
	ItemDetails item;

	if (!change->named[STOCK])
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("item " INT64_FORMAT " does not exist", item_id),
				 errhint("To create it, give its \"stock\", too.")));
	for (int i = 0; i < ITEM_SETTINGS; i++)
		seckill_item_reset_setting(i, &item.settings[i], &item.nulls[i]);
	apply_change(&item, change);
	item.stock = DatumGetInt32(change->values[STOCK]);
	for (int i = 0; i < MAX_INSERTS; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (seckill_item_insert(item_id, &item))
			return true;
		if (seckill_item_exists(item_id))
			return false;
	}
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("item " INT64_FORMAT " was not inserted", item_id),
			 errhint("Look for a trigger or rule on seckill.items that skips rows.")));
}

/*
 * Change the named settings under the item lock and the row lock.  If none is
 * named, the row is locked all the same: the caller is told that the item
 * exists, so our commit must follow the commit that created it.  Raises an
 * error if the stock is named, or if the item does not exist.
 */
void
seckill_item_change(int64 item_id, const Change *change)
{
	ItemRow		row;
	ItemDetails item;

	seckill_item_lock_acquire(item_id);
	seckill_item_lock_row(item_id, &row);
	if (change->named[STOCK])
	{
		seckill_standby_flush_seen();
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("item " INT64_FORMAT " exists, so its stock cannot be set",
						item_id),
				 errhint("Use seckill_restock() to add units or take some away, seckill_set_available() to say how many are left.")));
	}
	if (change->count == 0)
		return;
	if (!seckill_item_read_settings(item_id, &item))
		seckill_unknown_item(item_id);
	apply_change(&item, change);
	seckill_item_update_settings(item_id, &item);
	SECKILL_FAULT("settings written");
}


/*
 * Units
 */

/*
 * Take the item lock, lock the row and settle it; leaves the item's entry, if
 * it has one, pinned in p.
 */
static void
lock_and_settle(Purchase *p, int64 item_id, ItemRow *row)
{
	memset(p, 0, sizeof(*p));
	p->item_id = item_id;
	p->entry = seckill_entry_find(item_id);
	seckill_item_lock_acquire(item_id);
	seckill_item_lock_row(item_id, row);
	if (row->rules.legs > 0)
		seckill_has_seats(item_id);
	seckill_share_check_home(item_id, &row->rules);
	seckill_settle(p, row);
}

/*
 * Add to_row units to the locked row, which may be negative, and take
 * from_lease units that this transaction holds out of its lease.  Both change
 * "supplied".
 */
static void
supply(int64 item_id, int32 to_row, int32 from_lease)
{
	if (to_row == 0 && from_lease == 0)
		return;
	seckill_item_sell_locked(item_id, -to_row, from_lease);
	SECKILL_FAULT("units moved");
	seckill_item_add_supply(item_id, (int64) to_row - from_lease);
	seckill_change_note_row(item_id, ROW_CHANGED);
	SECKILL_FAULT("supply counted");
}

/*
 * The first number that a unit which is put on sale now gets.  Raises an error
 * if there are not so many numbers left.
 */
static int32
next_number(int64 item_id, const ItemRow *row, int32 units)
{
	int64		last = seckill_share_last_number(item_id, row);

	if (last > PG_INT32_MAX - units)
		seckill_item_too_many_supplied(item_id);
	return (int32) last + 1;
}

/*
 * Put units with new numbers on sale on the locked row.  Raises an error if the
 * item is revealed.
 */
static void
supply_numbers(int64 item_id, const ItemRow *row, int32 units)
{
	if (units == 0)
		return;
	seckill_commitments_check_secret(item_id);
	seckill_numbered_supply(item_id, row, next_number(item_id, row, units),
							units);
	SECKILL_FAULT("numbers supplied");
}

/*
 * Put units of a locked row whose units have numbers off sale: numbers of its
 * stock, and numbers of its lease that this transaction holds.
 */
static void
withdraw(int64 item_id, const ItemRow *row, const int32 *from_row, int nrow,
		 const int32 *from_lease, int nlease)
{
	if (nrow + nlease == 0)
		return;
	seckill_numbered_withdraw(item_id, row,
							  seckill_numbers_of_array(from_row, nrow),
							  seckill_numbers_of_array(from_lease, nlease));
	SECKILL_FAULT("numbers withdrawn");
}

/* Count the units that this transaction could buy now. */
static int64
available(CacheEntry *entry, int32 stock, int64 lease_id)
{
	LeaseCounters counters;
	OwnUnits	own;

	if (entry == NULL)
		return stock;
	seckill_cache_read_counters(entry, &counters);
	if (counters.lease_id != lease_id)
		return stock;
	seckill_hold_own_units(entry, &own);
	return (int64) stock + counters.avail +
		(own.lease_id == lease_id ? own.credit : 0);
}

/* Put units on sale on the locked row; updates *row. */
static void
add_units(int64 item_id, ItemRow *row, int32 units)
{
	if (row->stock > PG_INT32_MAX - units)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("item " INT64_FORMAT " would have too many units",
						item_id),
				 errdetail("%d are left, %d are the most.", row->stock,
						   PG_INT32_MAX)));
	seckill_share_await_promises(item_id, &row->rules);
	if (row->rules.numbered)
		supply_numbers(item_id, row, units);
	else
		supply(item_id, units, 0);
	row->stock += units;
}

/*
 * Take units off sale, from the locked row and its lease, at any time of the
 * sale; updates *row.  Waits for holders of units if too few are left; raises
 * an error if still too few are.
 */
static void
remove_units(Purchase *p, ItemRow *row, int32 units)
{
	Sale		sale;

	p->quantity = units;
	if (seckill_decide_any_time(&sale, row, p) != SECKILL_SOLD)
		ereport(ERROR,
				(errcode(ERRCODE_UNITS_MISSING),
				 errmsg("fewer than %d units of item " INT64_FORMAT " are left",
						units, p->item_id),
				 errhint("To take all that are left, call seckill_set_available(" INT64_FORMAT ", 0).",
						 p->item_id)));
	if (row->rules.numbered)
		withdraw(p->item_id, row, sale.row_numbers, sale.from_row,
				 sale.lease_numbers, sale.from_lease);
	else
		supply(p->item_id, -sale.from_row, sale.from_lease);
	*row = sale.row;
}

/*
 * Add units, which are alike, that another node has sent to the locked row of a
 * share; a negative number sends some.
 */
void
seckill_item_exchange(int64 item_id, int32 units)
{
	supply(item_id, units, 0);
}

/* Put units of scheduled releases on sale, waiting for the row. */
void
seckill_item_release(int64 item_id, const ReleasedUnits *released)
{
	ItemRow		row;

	if (released->units > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("too many units of item " INT64_FORMAT " at once",
						item_id)));
	seckill_item_lock_row(item_id, &row);
	if (row.rules.numbered)
		seckill_commitments_check_secret(item_id);
	if (released->numbers->n > 0)
		seckill_numbered_release(item_id, &row, released->numbers);
	if (released->units == 0)
		return;
	seckill_item_lock_row(item_id, &row);
	add_units(item_id, &row, (int32) released->units);
}

/*
 * Take the item lock, lock the row of an item whose units have numbers and
 * settle it; leaves the item's entry, if it has one, pinned in p.  Raises an
 * error if the units have no numbers.
 */
void
seckill_item_lock_numbered(Purchase *p, int64 item_id, ItemRow *row)
{
	lock_and_settle(p, item_id, row);
	if (!row->rules.numbered)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("units of item " INT64_FORMAT " have no numbers",
						item_id),
				 errhint("Use an item that was created with numbered => true.")));
}

/* Put units with new numbers on sale on the locked row; returns the first. */
int32
seckill_item_add_numbers(int64 item_id, ItemRow *row, int32 units)
{
	int32		first = next_number(item_id, row, units);

	add_units(item_id, row, units);
	return first;
}

/*
 * Add units with new numbers to the locked row that are not on sale yet;
 * returns the first.  Raises an error if the item is revealed.
 */
int32
seckill_item_hide_numbers(int64 item_id, const ItemRow *row, int32 units)
{
	int32		first = next_number(item_id, row, units);
	NumberSet  *set = seckill_numbers_make();

	seckill_numbers_append(set, first, first + units - 1);
	seckill_commitments_check_secret(item_id);
	seckill_numbered_hide(item_id, set);
	SECKILL_FAULT("numbers hidden");
	return first;
}

/*
 * Take all units of a locked and settled item off sale, those of its lease
 * included; waits for all holders.  Returns their numbers.
 */
NumberSet *
seckill_item_withdraw_all(Purchase *p, ItemRow *row)
{
	int32		numbers[NUMBERS_RING];
	int32		from_lease = seckill_lease_empty(p, row, numbers);
	NumberSet  *leased = seckill_numbers_of_array(numbers, from_lease);
	NumberSet  *all = seckill_numbers_make();

	seckill_numbers_merge(all, row->numbers);
	seckill_numbers_merge(all, leased);
	if (all->n > 0)
		seckill_numbered_withdraw(p->item_id, row, row->numbers, leased);
	SECKILL_FAULT("all numbers withdrawn");
	return all;
}

/*
 * Subtract lost units from "supplied", for seckill_write_off(); the units on
 * sale stay as they are.  Returns the new number.
 */
int64
seckill_item_write_off(int64 item_id, int64 units)
{
	ItemRow		row;
	int64		supplied;

	seckill_item_lock_acquire(item_id);
	seckill_item_lock_row(item_id, &row);
	if (row.rules.numbered)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("units of item " INT64_FORMAT " have numbers and are not written off",
						item_id),
				 errhint("When an order is deleted, its unit is taken out of the books.")));
	supplied = seckill_item_subtract_supply(item_id, units, &row);
	SECKILL_FAULT("units written off");
	return supplied;
}

/*
 * Add units to the item, or remove them if units is negative.  Returns the
 * number of available units.
 */
int64
seckill_item_restock(int64 item_id, int32 units)
{
	Purchase	p;
	ItemRow		row;
	int64		left;

	lock_and_settle(&p, item_id, &row);
	if (units >= 0)
		add_units(item_id, &row, units);
	else
		remove_units(&p, &row, -units);
	left = available(p.entry, row.stock, row.lease_id);
	seckill_cache_unpin(p.entry);
	return left;
}

/*
 * Set the number of available units of an item whose units have numbers.  All
 * that are left are on the locked row, or taken from its lease.  Those of the
 * lease are put off sale first.
 */
static void
set_numbered(int64 item_id, const ItemRow *row, const int32 *leased,
			 int32 from_lease, int32 units)
{
	int64		left = (int64) row->stock + from_lease;
	int32		off_lease = (int32) Min(Max(left - units, 0), from_lease);
	int32		off_row = (int32) Max(left - units, 0) - off_lease;
	int32	   *numbers = palloc_extended(Max(off_row, 1) * sizeof(int32),
										  MCXT_ALLOC_HUGE);

	seckill_numbers_take(row->numbers, numbers, off_row);
	withdraw(item_id, row, numbers, off_row, leased, off_lease);
	if (off_lease < from_lease)
		seckill_numbered_unlease(item_id, leased + off_lease,
								 from_lease - off_lease);
	SECKILL_FAULT("numbers back on the row");
	if (units > left)
		supply_numbers(item_id, row, (int32) (units - left));
}

/*
 * Set the number of available units; return the difference to what it was.
 * Waits for all holders of units.  Until the end of this transaction no other
 * one gets a unit: the row is locked, the cache is empty, and no other
 * transaction holds units.
 */
int64
seckill_item_set_available(int64 item_id, int32 units)
{
	Purchase	p;
	ItemRow		row;
	int32		numbers[NUMBERS_RING];
	int32		from_lease;
	int64		left;

	lock_and_settle(&p, item_id, &row);
	from_lease = seckill_lease_empty(&p, &row, numbers);
	left = (int64) row.stock + from_lease;
	seckill_share_check_gathered(item_id, &row.rules);
	seckill_share_await_promises(item_id, &row.rules);
	if (row.rules.numbered)
		set_numbered(item_id, &row, numbers, from_lease, units);
	else
		supply(item_id, units - row.stock, from_lease);
	seckill_cache_unpin(p.entry);
	return units - left;
}


/*
 * Reading
 */

/*
 * Combine the entry's counters with the row, which was read after the given
 * generation.  Returns false if the two are not of the same moment.
 */
static bool
locate(CacheEntry *entry, uint64 generation, const ItemDetails *item,
	   Whereabouts *units)
{
	LeaseCounters counters = {0};

	if (entry != NULL)
		seckill_cache_read_counters(entry, &counters);
	units->available = available(entry, item->stock, item->lease_id);
	units->held = counters.lease_id == item->lease_id ? counters.held : 0;
	units->unsettled = item->leased > 0 &&
		(entry == NULL || counters.lease_id != item->lease_id) ? item->leased : 0;
	return counters.generation == generation;
}

/*
 * Read an item and the counters of its entry as of one moment, without a lock.
 * Raises an error if the item does not exist.  While units return to it all
 * the time, there may be no such moment; then the last read is used.
 */
void
seckill_item_look(int64 item_id, ItemDetails *item, Whereabouts *units)
{
	CacheEntry *entry;

	seckill_place_read(item_id);
	entry = seckill_entry_find(item_id);
	for (int i = 0; i < MAX_READS; i++)
	{
		uint64		generation = seckill_await_generation(entry);

		CHECK_FOR_INTERRUPTS();
		if (!seckill_item_read_settings(item_id, item))
			seckill_unknown_item(item_id);
		if (locate(entry, generation, item, units))
			break;
	}
	seckill_cache_unpin(entry);
	units->seats_left = !item->nulls[SETTING_LEGS] &&
		seckill_seats_any_free(item_id, DatumGetInt32(item->settings[SETTING_LEGS]));
}

static TimestampTz
time_of(const ItemDetails *item, int setting, TimestampTz if_null)
{
	return item->nulls[setting] ? if_null :
		DatumGetTimestampTz(item->settings[setting]);
}

/*
 * Return the state of the sale, by the words of the view seckill.stock.
 */
const char *
seckill_item_state_of(const ItemDetails *item, const Whereabouts *units)
{
	SaleRules	rules = {
		.starts_at = time_of(item, SETTING_STARTS_AT, DT_NOBEGIN),
		.ends_at = time_of(item, SETTING_ENDS_AT, DT_NOEND)
	};

	switch (seckill_rules_check_window(&rules, GetCurrentTimestamp()))
	{
		case RULES_NOT_STARTED:
			return "upcoming";
		case RULES_ENDED:
			return "ended";
		default:
			return units->seats_left ||
				units->available + units->held + units->unsettled > 0 ?
				"on_sale" : "sold_out";
	}
}
