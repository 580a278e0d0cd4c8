/*
 * stream.c
 *		A reproducible stream of random numbers from a seed.
 *
 * Block b of the stream is SHA-256 of: the seed, the kind in ASCII, a zero
 * byte, and b as four bytes, the most significant first; b counts from 0.  A
 * block is four words of 64 bits, the most significant byte first.  The stream
 * can be computed from the seed with any implementation of SHA-256;
 * t/060_generators.pl has one in Perl.  The kind keeps two generators with the
 * same seed from using the same numbers.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "port/pg_bswap.h"

#include "base/compat.h"
#include "scenario/stream.h"

/*
 * Start a stream.  seed must stay in memory as long as the stream is used, and
 * must be detoasted.
 */
void
seckill_stream_init(RandomStream *stream, const bytea *seed, const char *kind)
{
	stream->seed = seed;
	stream->kind = kind;
	stream->block = 0;
	stream->next = STREAM_WORDS;
}

/* Compute the next block.  Raises an error if SHA-256 is not available. */
static void
fill(RandomStream *stream)
{
	uint32		number = pg_hton32(stream->block);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	StaticAssertStmt(sizeof(digest) == sizeof(stream->words),
					 "a block is one digest");
	if (ctx == NULL ||
		pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) VARDATA_ANY(stream->seed),
							 VARSIZE_ANY_EXHDR(stream->seed)) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) stream->kind,
							 strlen(stream->kind) + 1) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) &number,
							 sizeof(number)) < 0 ||
		pg_cryptohash_final(ctx, digest, sizeof(digest)) < 0)
	{
		pg_cryptohash_free(ctx);
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute random numbers")));
	}
	pg_cryptohash_free(ctx);
	memcpy(stream->words, digest, sizeof(digest));
	stream->block++;
	stream->next = 0;
}

static uint64
next_word(RandomStream *stream)
{
	if (stream->next == STREAM_WORDS)
		fill(stream);
	return pg_ntoh64(stream->words[stream->next++]);
}

/*
 * A number from 0 to n - 1, each as likely as the others.  Words from the
 * largest multiple of n on are skipped, so that there is no bias.  For n = 1
 * no word is used.
 */
uint64
seckill_stream_uniform(RandomStream *stream, uint64 n)
{
	uint64		excess;
	uint64		word;

	Assert(n > 0);
	if (n == 1)
		return 0;
	excess = (PG_UINT64_MAX % n + 1) % n;	/* 2^64 mod n */
	do
		word = next_word(stream);
	while (excess != 0 && word >= (uint64) 0 - excess);
	return word % n;
}
