/*
 * token.c
 *		Admission tokens, which let a user try to buy an item.
 *
 * A token says that the server lets a user try to buy an item until a time of
 * expiry.  It is that time in microseconds since 2000, as 16 hexadecimal
 * digits, followed by the 64 digits of a code.  The code is the HMAC-SHA256
 * (RFC 2104), with the key seckill.token_key, of a label, the item, the user
 * and the time of expiry (struct TokenText).
 *
 * Tokens made with seckill.token_old_key are accepted too, so that a key can
 * be replaced: the old key stays until the tokens made with it have expired.
 *
 * A check takes the same time whatever is wrong with a token.  The file keeps
 * no state.
 */
#include "postgres.h"

#include "common/hmac.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"

#include "base/settings.h"
#include "sale/token.h"
#include "seckill.h"

#define EXPIRY_DIGITS	16
#define TOKEN_DIGITS	(EXPIRY_DIGITS + 2 * PG_SHA256_DIGEST_LENGTH)

/*
 * The text that is signed; the label sets it apart from any other use of the
 * key.
 */
typedef struct TokenText
{
	char		label[16];
	uint64		item_id;		/* numbers in network byte order */
	uint64		user_id;
	uint64		expiry;
} TokenText;

static void
compute_code(const char *key, int64 item_id, int64 user_id, uint64 expiry,
			 uint8 *code)
{
	TokenText text = {"seckill token 1", pg_hton64(item_id),
	pg_hton64(user_id), pg_hton64(expiry)};
	pg_hmac_ctx *ctx = pg_hmac_create(PG_SHA256);

	if (ctx == NULL ||
		pg_hmac_init(ctx, (const uint8 *) key, strlen(key)) < 0 ||
		pg_hmac_update(ctx, (const uint8 *) &text, sizeof(text)) < 0 ||
		pg_hmac_final(ctx, code, PG_SHA256_DIGEST_LENGTH) < 0)
	{
		pg_hmac_free(ctx);
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute the code of a token")));
	}
	pg_hmac_free(ctx);
}

/* Raise an error if seckill.token_key is not set. */
static void
require_key(void)
{
	if (seckill_token_key[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no key for tokens"),
				 errhint("A superuser sets seckill.token_key in postgresql.conf or with ALTER SYSTEM, and reloads.")));
}

/* Return the value of a lower-case hexadecimal digit; else set *bad. */
static inline uint8
digit(char c, uint8 *bad)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	*bad = 1;
	return 0;
}

/* Convert 2 * n digits to n bytes; set *bad if one is no digit. */
static void
read_bytes(const char *digits, int n, uint8 *bytes, uint8 *bad)
{
	for (int i = 0; i < n; i++)
		bytes[i] = (uint8) (digit(digits[2 * i], bad) << 4 |
							digit(digits[2 * i + 1], bad));
}

/*
 * Compare a code with the right one under a key.  Returns 0 only if they are
 * equal and there is a key; takes the same time in any case.
 */
static uint8
compare_code(const char *key, const Purchase *p, uint64 expiry,
			 const uint8 *code)
{
	uint8		right[PG_SHA256_DIGEST_LENGTH];
	uint8		difference = key[0] == '\0';

	compute_code(key[0] == '\0' ? seckill_token_key : key, p->item_id, p->user_id, expiry, right);
	for (int i = 0; i < PG_SHA256_DIGEST_LENGTH; i++)
		difference |= code[i] ^ right[i];
	return difference;
}

/*
 * Does the purchase have a token that is valid now?  Raises an error if there
 * is no key.
 */
bool
seckill_token_admits(const Purchase *p)
{
	char		digits[TOKEN_DIGITS] = {0};
	uint8		bytes[TOKEN_DIGITS / 2];
	uint8		bad = 0;
	uint64		expiry;
	uint8		difference;
	uint8		old_difference;

	require_key();
	if (p->token != NULL && VARSIZE_ANY_EXHDR(p->token) == TOKEN_DIGITS)
		memcpy(digits, VARDATA_ANY(p->token), TOKEN_DIGITS);
	read_bytes(digits, TOKEN_DIGITS / 2, bytes, &bad);
	memcpy(&expiry, bytes, sizeof(expiry));
	expiry = pg_ntoh64(expiry);
	difference = compare_code(seckill_token_key, p, expiry,
							  bytes + sizeof(expiry));
	old_difference = compare_code(seckill_token_old_key, p, expiry,
								  bytes + sizeof(expiry));
	return bad == 0 && (difference == 0 || old_difference == 0) &&
		(int64) expiry > p->called_at;
}

/*
 * Make a token that lets a user try to buy an item until expiry.  Raises an
 * error if there is no key.
 */
text *
seckill_token_make(int64 item_id, int64 user_id, TimestampTz expiry)
{
	uint8		bytes[TOKEN_DIGITS / 2];
	char		token[TOKEN_DIGITS + 1];
	uint64		expiry_sent = pg_hton64((uint64) expiry);

	require_key();
	memcpy(bytes, &expiry_sent, sizeof(expiry_sent));
	compute_code(seckill_token_key, item_id, user_id, (uint64) expiry,
				 bytes + sizeof(expiry_sent));
	hex_encode((char *) bytes, sizeof(bytes), token);
	token[TOKEN_DIGITS] = '\0';
	return cstring_to_text(token);
}

/*
 * Return 16 digits that are the same on all servers with this key, and do not
 * tell the key; NULL if there is no key.
 */
text *
seckill_token_fingerprint(void)
{
	uint8		code[PG_SHA256_DIGEST_LENGTH];
	char		digits[17] = {0};

	if (seckill_token_key[0] == '\0')
		return NULL;
	compute_code(seckill_token_key, 0, 0, PG_UINT64_MAX, code);
	hex_encode((char *) code, 8, digits);
	return cstring_to_text(digits);
}
