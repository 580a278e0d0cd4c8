/*
 * commitments.h
 *		Statements on seckill.commitments and seckill.prizes.
 */
#ifndef SECKILL_TABLE_COMMITMENTS_H
#define SECKILL_TABLE_COMMITMENTS_H

#include "fmgr.h"

typedef struct PrizeRow
{
	int32		prize;
	int64		amount;			/* 0 if NULL */
	char	   *title;
} PrizeRow;

typedef struct Commitment
{
	int32		first_unit;
	int32		last_unit;
	bytea	   *commitment;
	bytea	   *seed;
} Commitment;

extern int	seckill_prizes_lock(int64 item_id, const int32 *numbers, int n,
								PrizeRow *prizes);
extern bool seckill_prizes_any(void);
extern void seckill_commitments_insert(int64 item_id, int32 first, int32 last,
									   const bytea *commitment,
									   const bytea *seed);
extern int	seckill_commitments_read(int64 item_id, Commitment **commitments);
extern void seckill_commitments_reveal(int64 item_id);
extern bool seckill_commitments_exist(int64 item_id);
extern bool seckill_commitments_revealed(int64 item_id);
extern void seckill_commitments_check_secret(int64 item_id);
extern bool seckill_commitments_any(void);
extern void seckill_commitments_delete(int64 item_id);

#endif							/* SECKILL_TABLE_COMMITMENTS_H */
