/*
 * counters.h
 *		The arithmetic of a lease's counters: plain functions on a plain struct.
 *
 * cache_counters.c calls them under the entry's spinlock; the model in model/
 * runs the protocol around them without a server.  So nothing here may need
 * PostgreSQL: the includer defines the types int32, int64, uint64 and ItemRow.
 */
#ifndef SECKILL_COUNTERS_H
#define SECKILL_COUNTERS_H

/*
 * avail is the number of units that anyone may take.  held is the number that
 * running transactions have taken, or have leased and not committed.  Both
 * count units of lease_id only.
 */
typedef struct LeaseCounters
{
	int32		avail;
	int32		held;
	int64		lease_id;
	uint64		generation;
} LeaseCounters;

/* Units of an entry that the buyer's own transaction has. */
typedef struct OwnUnits
{
	int64		lease_id;		/* the lease that the units belong to */
	int32		held;			/* its units that the entry counts as held */
	int32		credit;			/* those of them that it can still sell */
} OwnUnits;

/* What a buyer does next after an entry had too few units. */
typedef enum UnitsVerdict
{
	UNITS_RETRY,				/* something has changed: try once more */
	UNITS_REFILL,				/* units are on the row, or in a dead lease */
	UNITS_WAIT,					/* another transaction holds units */
	UNITS_SOLD_OUT				/* proved: none left, none can return */
} UnitsVerdict;

/* Take at least min and at most max units, or none; return how many. */
static inline int32
counters_take(LeaseCounters *c, int32 min, int32 max)
{
	int32		units = c->avail < min ? 0 : c->avail < max ? c->avail : max;

	c->avail -= units;
	c->held += units;
	return units;
}

/*
 * Add to avail and held if this is the given lease; units of another lease are
 * dead and change nothing.  Returns whether units became available.
 */
static inline bool
counters_adjust(LeaseCounters *c, int64 lease_id, int32 avail, int32 held)
{
	if (c->lease_id != lease_id)
		return false;
	c->avail += avail;
	c->held += held;
	return avail > 0;
}

/* Start a new lease without units.  Its id is practically unique. */
static inline void
counters_start_lease(LeaseCounters *c)
{
	c->lease_id++;
	c->avail = 0;
	c->held = 0;
}

/* Are no units on sale or held? */
static inline bool
counters_idle(const LeaseCounters *c)
{
	return c->avail == 0 && c->held == 0;
}

/* Does own's lease have no units on sale, and none held but own's? */
static inline bool
counters_vacant(const LeaseCounters *c, const OwnUnits *own)
{
	return c->lease_id == own->lease_id && c->avail == 0 &&
		c->held <= own->held;
}

/* Are units counted of a lease that is not on the row? */
static inline bool
counters_stale(const LeaseCounters *c, const ItemRow *row)
{
	return c->lease_id != row->lease_id && !counters_idle(c);
}

/* Is there a lease on the row that these counters do not know? */
static inline bool
counters_lost(const LeaseCounters *c, const ItemRow *row)
{
	return row->leased > 0 && row->lease_id != c->lease_id;
}

/*
 * Decide for a buyer that wants quantity units, has read row after the given
 * generation, and has own in its own transaction.
 *
 * Every unit is in the committed row, in avail, in held, or was taken from the
 * row by a transaction that still has the row locked; the last kind still
 * counts in row->stock.  So if row and counters are of one generation and show
 * no unit, none can return.
 */
static inline UnitsVerdict
counters_judge(const LeaseCounters *c, uint64 generation, const ItemRow *row,
			   int32 quantity, const OwnUnits *own)
{
	int64		reach = (int64) c->avail + own->credit;

	if (c->generation != generation || c->lease_id != own->lease_id ||
		reach >= quantity)
		return UNITS_RETRY;
	if (counters_lost(c, row) || row->stock + reach >= quantity)
		return UNITS_REFILL;
	return c->held > own->held ? UNITS_WAIT : UNITS_SOLD_OUT;
}

/*
 * Is the item sold out for everybody?  A row that the buyer's own transaction
 * has changed says nothing about other transactions.
 */
static inline bool
counters_all_gone(const LeaseCounters *c, const ItemRow *row)
{
	return row->stock == 0 && counters_idle(c) && !row->mine;
}

#endif							/* SECKILL_COUNTERS_H */
