/*
 * token.h
 *		Admission tokens, which let a user try to buy an item.
 */
#ifndef SECKILL_SALE_TOKEN_H
#define SECKILL_SALE_TOKEN_H

#include "datatype/timestamp.h"

#include "seckill.h"

extern bool seckill_token_admits(const Purchase *p);
extern text *seckill_token_make(int64 item_id, int64 user_id,
								TimestampTz expiry);
extern text *seckill_token_fingerprint(void);

#endif							/* SECKILL_SALE_TOKEN_H */
