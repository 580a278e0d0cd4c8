/*
 * item_json.h
 *		The settings of an item, read from a JSON object.
 */
#ifndef SECKILL_API_ITEM_JSON_H
#define SECKILL_API_ITEM_JSON_H

#include "utils/jsonb.h"

#include "sale/item.h"

extern void seckill_json_read_settings(Jsonb *json, Change *change);

#endif							/* SECKILL_API_ITEM_JSON_H */
