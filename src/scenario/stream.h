/*
 * stream.h
 *		A reproducible stream of random numbers from a seed.
 */
#ifndef SECKILL_SCENARIO_STREAM_H
#define SECKILL_SCENARIO_STREAM_H

#include "fmgr.h"

#define STREAM_WORDS	4		/* of 64 bits in a block of SHA-256 */

typedef struct RandomStream
{
	const bytea *seed;
	const char *kind;			/* what the numbers are for */
	uint32		block;			/* the next one to compute */
	int			next;			/* word of the present block to use next */
	uint64		words[STREAM_WORDS];
} RandomStream;

extern void seckill_stream_init(RandomStream *stream, const bytea *seed,
								const char *kind);
extern uint64 seckill_stream_uniform(RandomStream *stream, uint64 n);

#endif							/* SECKILL_SCENARIO_STREAM_H */
