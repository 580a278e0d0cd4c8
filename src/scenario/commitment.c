/*
 * commitment.c
 *		Commitments to what units are worth, published before the sale.
 *
 * A commitment is SHA-256 of the following; numbers have their most
 * significant byte first, a NULL counts as 0:
 *
 *	the length of the seed (4 bytes) and the seed
 *	the first and the last number that it covers (4 bytes each)
 *	how many of these have a value (4 bytes), and in ascending order of each:
 *		number (4 bytes), prize (4 bytes), amount (8 bytes)
 *	of each prize among these values, in ascending order:
 *		prize (4 bytes), amount (8 bytes), SHA-256 of the title in UTF-8
 *
 * The seed hides the values until it is revealed.  The length of the seed and
 * the number of values keep bytes of one part from being shown as bytes of
 * another one.
 *
 * The values are read from the tables, when the commitment is made and again
 * when it is revealed.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"

#include "base/compat.h"
#include "scenario/commitment.h"
#include "table/commitments.h"
#include "table/units.h"

/* Values that are read at a time. */
#define VALUES_READ		10000

/* Prizes of a commitment, in ascending order. */
typedef struct PrizeList
{
	int			n;
	int			size;
	int32	   *prizes;
} PrizeList;

/* Raise: SHA-256 is not available. */
static void
hash_failed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("could not compute a commitment")));
}

static void
add_bytes(pg_cryptohash_ctx *hash, const void *bytes, size_t n)
{
	if (pg_cryptohash_update(hash, bytes, n) < 0)
		hash_failed();
}

static void
add_int32(pg_cryptohash_ctx *hash, int32 value)
{
	uint32		bytes = pg_hton32((uint32) value);

	add_bytes(hash, &bytes, sizeof(bytes));
}

static void
add_int64(pg_cryptohash_ctx *hash, int64 value)
{
	uint64		bytes = pg_hton64((uint64) value);

	add_bytes(hash, &bytes, sizeof(bytes));
}

static pg_cryptohash_ctx *
begin_hash(void)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);

	if (hash == NULL || pg_cryptohash_init(hash) < 0)
		hash_failed();
	return hash;
}

static void
end_hash(pg_cryptohash_ctx *hash, uint8 *digest)
{
	if (pg_cryptohash_final(hash, digest, PG_SHA256_DIGEST_LENGTH) < 0)
		hash_failed();
	pg_cryptohash_free(hash);
}

/* Note a prize in the list, if it is not there. */
static void
note_prize(PrizeList *list, int32 prize)
{
	int			low = 0;
	int			high = list->n;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (list->prizes[middle] < prize)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < list->n && list->prizes[low] == prize)
		return;
	if (list->n == list->size)
	{
		list->size *= 2;
		list->prizes = repalloc_huge(list->prizes,
									 list->size * sizeof(int32));
	}
	memmove(&list->prizes[low + 1], &list->prizes[low],
			(list->n - low) * sizeof(int32));
	list->prizes[low] = prize;
	list->n++;
}

/* Add the values of the numbers from first to last, and note their prizes. */
static void
add_values(pg_cryptohash_ctx *hash, int64 item_id, int32 first, int32 last,
		   PrizeList *list)
{
	UnitPrize  *values = palloc(VALUES_READ * sizeof(UnitPrize));
	int			n = VALUES_READ;

	add_int32(hash, seckill_units_count(item_id, first, last));
	while (n == VALUES_READ && first <= last)
	{
		CHECK_FOR_INTERRUPTS();
		n = seckill_units_read(item_id, first, last, values, VALUES_READ);
		for (int i = 0; i < n; i++)
		{
			add_int32(hash, values[i].unit);
			add_int32(hash, values[i].prize);
			add_int64(hash, values[i].amount);
			if (values[i].prize != 0)
				note_prize(list, values[i].prize);
		}
		if (n == 0 || values[n - 1].unit == last)
			break;
		first = values[n - 1].unit + 1;
	}
	pfree(values);
}

/* Add the prizes of the list; returns how many of them are not described. */
static int
add_prizes(pg_cryptohash_ctx *hash, int64 item_id, const PrizeList *list)
{
	PrizeRow   *rows = palloc(Max(list->n, 1) * sizeof(PrizeRow));
	int			n = list->n == 0 ? 0 :
		seckill_prizes_lock(item_id, list->prizes, list->n, rows);

	for (int i = 0; i < n; i++)
	{
		char	   *title = pg_server_to_any(rows[i].title,
											 strlen(rows[i].title), PG_UTF8);
		pg_cryptohash_ctx *inner = begin_hash();
		uint8		digest[PG_SHA256_DIGEST_LENGTH];

		add_bytes(inner, title, strlen(title));
		end_hash(inner, digest);
		add_int32(hash, rows[i].prize);
		add_int64(hash, rows[i].amount);
		add_bytes(hash, digest, sizeof(digest));
	}
	return list->n - n;
}

/*
 * Compute the commitment to what the numbers from first to last of an item are
 * worth.  Locks the prizes among them against changes.  *undescribed is set to
 * how many of these prizes are not in seckill.prizes.
 */
bytea *
seckill_commitment_compute(int64 item_id, int32 first, int32 last,
						   const bytea *seed, int *undescribed)
{
	pg_cryptohash_ctx *hash = begin_hash();
	bytea	   *commitment = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	PrizeList	list = {.size = 16};

	list.prizes = palloc(list.size * sizeof(int32));
	add_int32(hash, (int32) VARSIZE_ANY_EXHDR(seed));
	add_bytes(hash, VARDATA_ANY(seed), VARSIZE_ANY_EXHDR(seed));
	add_int32(hash, first);
	add_int32(hash, last);
	add_values(hash, item_id, first, last, &list);
	*undescribed = add_prizes(hash, item_id, &list);
	SET_VARSIZE(commitment, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	end_hash(hash, (uint8 *) VARDATA(commitment));
	return commitment;
}
