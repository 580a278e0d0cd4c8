/*
 * generate.h
 *		Generators of what numbered units are worth: shares of an amount,
 *		prizes, codes.
 */
#ifndef SECKILL_SCENARIO_GENERATE_H
#define SECKILL_SCENARIO_GENERATE_H

#include "scenario/stream.h"

/* Maximum number of shares of one amount. */
#define MAX_SHARES		10000

/* The largest amount that is divided, in units of the smallest coin. */
#define MAX_AMOUNT		INT64CONST(1000000000000000)

/* Maximum number of places of a prize pool. */
#define MAX_DRAWS		10000000

/* Maximum number of codes that one call makes, and their maximum length. */
#define MAX_CODES		1000000
#define MAX_CODE_LENGTH 200

/* Shorter seeds can be guessed. */
#define MIN_SEED_BYTES	16

/* A place of a prize pool that wins nothing. */
#define NO_PRIZE		0

extern void seckill_divide_evenly(int64 total, int shares, int64 *amounts);
extern void seckill_divide_by_chance(int64 total, int shares, int64 min,
									 int64 max, RandomStream *stream,
									 int64 *amounts);
extern void seckill_deal(int draws, const int32 *quantities, int n,
						 bool spread, RandomStream *stream, int32 *prizes);
extern int	seckill_code_stars(const char *pattern);
extern void seckill_code_make(const char *pattern, char *code);

#endif							/* SECKILL_SCENARIO_GENERATE_H */
