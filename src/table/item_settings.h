/*
 * item_settings.h
 *		The settings of an item, written and read as a whole.
 */
#ifndef SECKILL_TABLE_ITEM_SETTINGS_H
#define SECKILL_TABLE_ITEM_SETTINGS_H

/* What an administrator may set of an item; sale/item.c has the names. */
typedef enum ItemSetting
{
	SETTING_TITLE,
	SETTING_STARTS_AT,
	SETTING_ENDS_AT,
	SETTING_PER_USER_LIMIT,
	SETTING_LIMIT_WINDOW,
	SETTING_REQUIRE_TOKEN,
	SETTING_PAY_WITHIN,
	SETTING_USER_RATE,
	SETTING_USER_BURST,
	SETTING_MAX_WAITERS,
	SETTING_NUMBERED,
	SETTING_REVEAL_ON,
	SETTING_LEGS
} ItemSetting;

#define ITEM_SETTINGS	(SETTING_LEGS + 1)

/* The settings and units of an item. */
typedef struct ItemDetails
{
	Datum		settings[ITEM_SETTINGS];
	bool		nulls[ITEM_SETTINGS];
	int32		stock;
	int32		leased;
	int64		lease_id;		/* 0: none */
} ItemDetails;

extern bool seckill_item_insert(int64 item_id, const ItemDetails *item);
extern void seckill_item_update_settings(int64 item_id, const ItemDetails *item);
extern bool seckill_item_read_settings(int64 item_id, ItemDetails *item);

#endif							/* SECKILL_TABLE_ITEM_SETTINGS_H */
