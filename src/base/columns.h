/*
 * columns.h
 *		Positions of the columns of seckill.items, seckill.orders, seckill.units,
 *		seckill.releases and seckill.seats, as the extension script made them.
 *
 * base/catalog.c gives each position its name and type, and checks the tables
 * against them before anything is read.
 */
#ifndef SECKILL_BASE_COLUMNS_H
#define SECKILL_BASE_COLUMNS_H

typedef enum ItemColumn
{
	ITEM_ITEM_ID = 1,
	ITEM_TITLE,
	ITEM_STOCK,
	ITEM_VERSION,
	ITEM_LEASED,
	ITEM_LEASE_ID,
	ITEM_SUPPLIED,
	ITEM_STARTS_AT,
	ITEM_ENDS_AT,
	ITEM_PER_USER_LIMIT,
	ITEM_LIMIT_WINDOW,
	ITEM_REQUIRE_TOKEN,
	ITEM_PAY_WITHIN,
	ITEM_USER_RATE,
	ITEM_USER_BURST,
	ITEM_MAX_WAITERS,
	ITEM_SEAL,
	ITEM_NUMBERED,
	ITEM_NUMBERS,
	ITEM_OFF_SALE,
	ITEM_REVEAL_ON,
	ITEM_LEGS
} ItemColumn;

#define ITEM_COLUMNS	ITEM_LEGS

typedef enum OrderColumn
{
	ORDER_ITEM_ID = 1,
	ORDER_ORDER_ID,
	ORDER_USER_ID,
	ORDER_QUANTITY,
	ORDER_MODE,
	ORDER_LEASE_ID,
	ORDER_CREATED_AT,
	ORDER_REQUEST_ID,
	ORDER_LIMITED,
	ORDER_STATE,
	ORDER_PAY_BY,
	ORDER_UNIT,
	ORDER_REDEEMED_AT,
	ORDER_SEATS,
	ORDER_SEAT_LEGS
} OrderColumn;

#define ORDER_COLUMNS	ORDER_SEAT_LEGS

typedef enum UnitColumn
{
	UNIT_ITEM_ID = 1,
	UNIT_UNIT,
	UNIT_CODE,
	UNIT_PRIZE,
	UNIT_AMOUNT
} UnitColumn;

#define UNIT_COLUMNS	UNIT_AMOUNT

typedef enum ReleaseColumn
{
	RELEASE_ITEM_ID = 1,
	RELEASE_RELEASE_ID,
	RELEASE_RELEASE_AT,
	RELEASE_UNITS,
	RELEASE_FIRST_UNIT,
	RELEASE_DONE_AT
} ReleaseColumn;

#define RELEASE_COLUMNS	RELEASE_DONE_AT

typedef enum SeatColumn
{
	SEAT_ITEM_ID = 1,
	SEAT_SEAT,
	SEAT_BLOCK,
	SEAT_CAR,
	SEAT_LABEL,
	SEAT_TAKEN
} SeatColumn;

#define SEAT_COLUMNS	SEAT_TAKEN

#endif							/* SECKILL_BASE_COLUMNS_H */
