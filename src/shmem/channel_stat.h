/*
 * channel_stat.h
 *		Counters of the exchanges of split items with other nodes.
 */
#ifndef SECKILL_SHMEM_CHANNEL_STAT_H
#define SECKILL_SHMEM_CHANNEL_STAT_H

#include "base/shmem.h"
#include "datatype/timestamp.h"

/* Length of a message that is kept, with its end. */
#define CHANNEL_MESSAGE		256

/* The exchanges of an item with another node, since the server has started. */
typedef struct ChannelCounts
{
	int64		item_id;
	int32		peer;
	int64		rounds;			/* calls of home to another node */
	int64		asks;			/* calls to home */
	int64		grants;			/* those of them that got units of this node */
	int64		failures;		/* calls from here that were not answered */
	TimestampTz last_success;	/* 0: never */
	TimestampTz last_failure;
	char		last_error[CHANNEL_MESSAGE];
} ChannelCounts;

/* What has happened in one call. */
typedef struct ChannelCall
{
	bool		is_round;		/* it was home that called */
	bool		granted;
	bool		succeeded;
	const char *error;			/* NULL: none */
} ChannelCall;

extern const SeckillShmem seckill_channel_shmem;
extern void seckill_channel_stat_add(Oid items, int64 item_id, int32 peer,
									 const ChannelCall *call);
extern int	seckill_channel_stat_list(Oid items, ChannelCounts **list);

#endif							/* SECKILL_SHMEM_CHANNEL_STAT_H */
