/*
 * exchange.h
 *		The share of an item that is split over nodes, as other nodes see it.
 */
#ifndef SECKILL_SALE_EXCHANGE_H
#define SECKILL_SALE_EXCHANGE_H

#include "base/number_set.h"
#include "seckill.h"

/* A locked share. */
typedef struct LockedShare
{
	int32		free;			/* units, all on the row */
	bool		vacant;			/* does no other transaction hold any? */
} LockedShare;

extern void seckill_exchange_lock(int64 item_id, LockedShare *share);
extern NumberSet *seckill_exchange_add(int64 item_id, int32 units,
									   const NumberSet *received);
extern int	seckill_exchange_rejoin(int64 item_id, const NumberSet *own,
									const NumberSet *lost);
extern void seckill_exchange_set_split(int64 item_id, const SplitNodes *split);

#endif							/* SECKILL_SALE_EXCHANGE_H */
