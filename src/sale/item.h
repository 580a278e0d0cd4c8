/*
 * item.h
 *		Items: created, changed, restocked, read.
 */
#ifndef SECKILL_SALE_ITEM_H
#define SECKILL_SALE_ITEM_H

#include "base/number_set.h"
#include "seckill.h"
#include "table/item_settings.h"
#include "table/releases.h"

/* Index of the stock in a Change, behind those of the settings. */
#define STOCK	ITEM_SETTINGS

#define NAMES	(ITEM_SETTINGS + 1)

/* The settings, and the stock, that a caller has named. */
typedef struct Change
{
	int			count;			/* settings named, without the stock */
	bool		named[NAMES];
	Datum		values[NAMES];
	bool		nulls[NAMES];
} Change;

/* Where the units of an item are. */
typedef struct Whereabouts
{
	int64		available;		/* on the row and in the cache */
	int32		held;			/* units of the cache on hold */
	int32		unsettled;		/* leased under a dead lease */
	bool		seats_left;		/* a leg of a seat is not taken */
} Whereabouts;

extern void seckill_item_reset_setting(int setting, Datum *value,
									   bool *isnull);
extern bool seckill_item_exists(int64 item_id);
extern bool seckill_item_create(int64 item_id, const Change *change);
extern void seckill_item_change(int64 item_id, const Change *change);
extern int64 seckill_item_write_off(int64 item_id, int64 units);
extern void seckill_item_lock_numbered(Purchase *p, int64 item_id,
									   ItemRow *row);
extern int32 seckill_item_add_numbers(int64 item_id, ItemRow *row,
									  int32 units);
extern int32 seckill_item_hide_numbers(int64 item_id, const ItemRow *row,
									   int32 units);
extern NumberSet *seckill_item_withdraw_all(Purchase *p, ItemRow *row);
extern void seckill_item_exchange(int64 item_id, int32 units);
extern void seckill_item_release(int64 item_id,
								 const ReleasedUnits *released);
extern int64 seckill_item_restock(int64 item_id, int32 units);
extern int64 seckill_item_set_available(int64 item_id, int32 units);
extern void seckill_item_look(int64 item_id, ItemDetails *item,
							  Whereabouts *units);
extern const char *seckill_item_state_of(const ItemDetails *item,
										 const Whereabouts *units);

#endif							/* SECKILL_SALE_ITEM_H */
