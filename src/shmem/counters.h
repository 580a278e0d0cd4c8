/*
 * counters.h
 *		The arithmetic of a lease's counters: plain functions on a plain struct.
 *
 * Shared by stock.c, which calls them under the entry's spinlock, and by
 * model/lease_model.c, which runs the protocol around them without a server.
 * So nothing here may need PostgreSQL: the types int32, int64, uint64 and
 * ItemRow are the includer's.
 */
#ifndef SECKILL_COUNTERS_H
#define SECKILL_COUNTERS_H

/*
 * avail is what anyone may take; held what running transactions have taken, or
 * have leased and not committed.  Both count units of lease_id only.
 */
typedef struct LeaseCounters
{
	int32		avail;
	int32		held;
	int64		lease_id;
	uint64		generation;
} LeaseCounters;

/* What the buyer's own transaction has at an entry. */
typedef struct OwnUnits
{
	int64		lease_id;		/* the lease that the units are of */
	int32		held;			/* units of its that the entry counts as held */
	int32		credit;			/* those of them that it can still sell */
} OwnUnits;

/* What a buyer who found an entry short does next. */
typedef enum UnitsVerdict
{
	UNITS_RETRY,				/* something moved: look again */
	UNITS_REFILL,				/* units are on the row, or in a dead lease */
	UNITS_WAIT,					/* another transaction holds units */
	UNITS_SOLD_OUT				/* proved: none left, none to come back */
} UnitsVerdict;

/* Take at least min and at most max units, or none; returns how many. */
static inline int32
counters_take(LeaseCounters *c, int32 min, int32 max)
{
	int32		units = c->avail < min ? 0 : c->avail < max ? c->avail : max;

	c->avail -= units;
	c->held += units;
	return units;
}

/*
 * Move units of the given lease; those of another are dead and change nothing.
 * True if units became available.
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

/* Forget the lease and its units.  The id is as good as unique. */
static inline void
counters_start_lease(LeaseCounters *c)
{
	c->lease_id++;
	c->avail = 0;
	c->held = 0;
}

/* Does nobody have or hold units? */
static inline bool
counters_idle(const LeaseCounters *c)
{
	return c->avail == 0 && c->held == 0;
}

/* Has the lease nothing on sale and nothing held but own? */
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

/* Is there a lease on the row that this memory does not know? */
static inline bool
counters_lost(const LeaseCounters *c, const ItemRow *row)
{
	return row->leased > 0 && row->lease_id != c->lease_id;
}

/*
 * Decide for a buyer who wants quantity units and has seen row after the
 * given generation, and whose own transaction has own.
 *
 * Every unit is in the committed row, in avail, in held, or taken from the
 * committed row by a transaction that still has it locked; the latter still
 * shows in row->stock.  So row and counters of one generation leave no place
 * for a unit that could come back.
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
 * May "sold out" be said to everybody?  A row that the buyer has changed
 * himself is not the truth for others.
 */
static inline bool
counters_all_gone(const LeaseCounters *c, const ItemRow *row)
{
	return row->stock == 0 && counters_idle(c) && !row->mine;
}

#endif							/* SECKILL_COUNTERS_H */
