/*
 * changes.c
 *		What the current transaction has done to rows and tables, and which
 *		statements of the extension are running.
 *
 * Rows.  A short list of the item rows that this transaction has locked or
 * changed.  Such a transaction must not wait for sessions that wait for the
 * row, nor publish in the cache what it alone can see.  At commit its changes
 * are announced to the cache.  Once the list is full, a further row makes the
 * transaction count as one that has locked (or changed) all rows, which is
 * slower but correct.
 *
 * Tables.  Incarnations of seckill.items that were truncated or dropped, and a
 * database that was dropped.  Their cache entries are dropped at commit.
 *
 * Own statements.  The statements of the extension that are running.  Triggers
 * use the list to tell them from statements of the application.
 *
 * Numbers on their way.  Work that deals or takes back units with numbers has
 * them in none of the places where they are kept, between the statement that
 * takes them out of one and that which puts them in another.  A trigger in
 * between that settles the item must not take them for numbers of the lease.
 *
 * A note belongs to a nest level: it moves up a level when its subtransaction
 * commits, and is forgotten when it aborts.  The functions that
 * src/callbacks.c calls at these ends raise nothing and allocate nothing.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "base/catalog.h"
#include "shmem/cache.h"
#include "shmem/cache_scan.h"
#include "shmem/moves.h"
#include "shmem/ring.h"
#include "shmem/schedule.h"
#include "shmem/seat_map.h"
#include "shmem/share_state.h"
#include "shmem/stat.h"
#include "xact/changes.h"

#define ROWS	64
#define EMPTIED 16

#define NO_STATEMENT	(-1)	/* no depth of triggers */

typedef struct RowNote
{
	int64		item_id;
	int			level;
	RowState	state;
} RowNote;

/* A statement or work of the extension's own on an item or its orders. */
typedef struct OwnStatement
{
	int			level;			/* transaction nest level */
	int			depth;			/* of triggers around it, or NO_STATEMENT */
	int64		item_id;
	const int32 *moving;		/* numbers on their way */
	int			nmoving;
} OwnStatement;

/*
 * Statements and work of the extension's own that run, the innermost last.
 * When a trigger of the application catches an error,
 * seckill_change_abort_level() removes those of the levels that it aborts;
 * those around them still run.
 */
static OwnStatement *own = NULL;
static int	nown = 0;
static int	max_own = 0;

static RowNote rows[ROWS];
static int	nrows = 0;

/* The list was full when a further row was noted: all rows count as such. */
static bool more_locked = false;
static bool more_changed = false;

/* Has this transaction changed where an item is sold? */
static bool place_changed = false;

static Oid	changed_items = InvalidOid; /* OID of seckill.items for rows */

/* Incarnations of seckill.items that were truncated or dropped. */
static struct
{
	Oid			items;
	int			level;			/* nest level that did it */
}			emptied[EMPTIED];
static int	nemptied = 0;
static Oid	dropped_database = InvalidOid;


/*
 * Own statements
 */

/* Return how many triggers are running around this call. */
static int
trigger_depth(void)
{
	return DatumGetInt32(pg_trigger_depth(NULL));
}

/* Enlarge own[]. */
static void
grow_own(void)
{
	int			max = Max(2 * max_own, 8);

	own = own == NULL ?
		MemoryContextAlloc(TopMemoryContext, max * sizeof(OwnStatement)) :
		repalloc(own, max * sizeof(OwnStatement));
	max_own = max;
}

static void
push_own(int64 item_id, int depth)
{
	if (nown == max_own)
		grow_own();
	own[nown].level = GetCurrentTransactionNestLevel();
	own[nown].depth = depth;
	own[nown].item_id = item_id;
	own[nown].moving = NULL;
	own[nown].nmoving = 0;
	nown++;
}

/*
 * Tell the triggers that the extension itself changes the row of an item, or
 * orders of it, until seckill_change_end_own().  Statements nest, as a trigger
 * may buy.
 */
void
seckill_change_begin_own(int64 item_id)
{
	push_own(item_id, trigger_depth());
}

/* End the innermost statement, which has raised no error. */
void
seckill_change_end_own(void)
{
	Assert(nown > 0 && own[nown - 1].level == GetCurrentTransactionNestLevel());
	nown--;
}

/*
 * Work on an item begins: several statements of our own that belong together,
 * such as a purchase between its units and its order.  Triggers that run
 * meanwhile must not delete the item.  An error ends the work like a
 * statement.
 */
void
seckill_change_begin_work(int64 item_id)
{
	push_own(item_id, NO_STATEMENT);
}

/* The last n works that began have ended without an error. */
void
seckill_change_end_work(int n)
{
	Assert(nown >= n);
	nown -= n;
}

/*
 * The innermost work on the item has these n numbers on their way, and no
 * others.  The array belongs to the caller and stays until the work has ended.
 */
void
seckill_change_note_moving(int64 item_id, const int32 *numbers, int n)
{
	for (int i = nown - 1; i >= 0; i--)
		if (own[i].item_id == item_id && own[i].depth == NO_STATEMENT)
		{
			own[i].moving = numbers;
			own[i].nmoving = n;
			return;
		}
}

/*
 * Return the numbers that are on their way in one work on the item, and set *n;
 * NULL if no work has more.  *at is 0 at first.  Some may have arrived.
 */
const int32 *
seckill_change_next_moving(int64 item_id, int *at, int *n)
{
	while (*at < nown)
	{
		const OwnStatement *work = &own[(*at)++];

		*n = work->nmoving;
		if (work->item_id == item_id && work->nmoving > 0)
			return work->moving;
	}
	return NULL;
}

/*
 * Is work or a statement of our own on the item running?  An item_id of 0
 * stands for any item.
 */
bool
seckill_change_at_work(int64 item_id)
{
	for (int i = 0; i < nown; i++)
		if (item_id == 0 || own[i].item_id == item_id)
			return true;
	return false;
}

/*
 * Has our own statement on the item fired this trigger?  Other triggers of
 * that statement may run statements of the application, one level deeper.
 */
bool
seckill_change_is_own(int64 item_id)
{
	return nown > 0 && own[nown - 1].item_id == item_id &&
		trigger_depth() == own[nown - 1].depth + 1;
}

/*
 * Does a statement of our own write a row at this moment?  For the WHEN clause
 * of a trigger, which is evaluated for each row before its triggers run.
 */
bool
seckill_change_in_own(void)
{
	return nown > 0 && trigger_depth() == own[nown - 1].depth;
}


/*
 * Rows
 */

static RowNote *
find_row(int64 item_id, int level)
{
	for (int i = 0; i < nrows; i++)
		if (rows[i].item_id == item_id && rows[i].level == level)
			return &rows[i];
	return NULL;
}

/* Note what this transaction did to the row of an item. */
void
seckill_change_note_row(int64 item_id, RowState state)
{
	int			level = GetCurrentTransactionNestLevel();
	RowNote    *note;

	if (!seckill_cache_ready())
		return;
	changed_items = seckill_catalog()->items;
	note = find_row(item_id, level);
	if (note != NULL)
	{
		note->state = Max(note->state, state);
		return;
	}
	if (nrows == ROWS)
	{
		more_locked = true;
		more_changed |= state == ROW_CHANGED;
		return;
	}
	rows[nrows].item_id = item_id;
	rows[nrows].level = level;
	rows[nrows].state = state;
	nrows++;
}

/* Note that this transaction may have changed any row. */
void
seckill_change_note_all_rows(void)
{
	if (!seckill_cache_ready())
		return;
	changed_items = seckill_catalog()->items;
	more_locked = more_changed = true;
}

/*
 * Is the row in this state, or, because the list was full, may it be?  A
 * changed row is in state ROW_LOCKED, too.
 */
static bool
row_has_state(int64 item_id, RowState state)
{
	if (state == ROW_CHANGED ? more_changed : more_locked)
		return true;
	for (int i = 0; i < nrows; i++)
		if (rows[i].item_id == item_id && rows[i].state >= state)
			return true;
	return false;
}

bool
seckill_change_locked_row(int64 item_id)
{
	return row_has_state(item_id, ROW_LOCKED);
}

bool
seckill_change_changed_row(int64 item_id)
{
	return row_has_state(item_id, ROW_CHANGED);
}


/* Note that this transaction changes where an item is sold. */
void
seckill_change_note_place(void)
{
	place_changed = true;
}


/*
 * Tables and databases
 */

/*
 * Note that an incarnation of seckill.items is truncated or dropped: its
 * entries are dropped at commit.  If one transaction does that to more than
 * EMPTIED of them, entries of the others stay until they are evicted.
 */
void
seckill_change_note_emptied(Oid items)
{
	if (!seckill_cache_ready() || nemptied == EMPTIED)
		return;
	for (int i = 0; i < nemptied; i++)
		if (emptied[i].items == items)
			return;
	emptied[nemptied].items = items;
	emptied[nemptied].level = GetCurrentTransactionNestLevel();
	nemptied++;
}

/* Has this transaction truncated or dropped a seckill.items? */
bool
seckill_change_emptied_items(void)
{
	return nemptied > 0;
}

/* Note that a database is dropped: shared memory forgets it at commit. */
void
seckill_change_note_drop_database(Oid dbid)
{
	dropped_database = dbid;
}


/*
 * The end of a transaction
 */

/*
 * Announce to the cache what this transaction has changed.  It has committed.
 */
void
seckill_change_announce(void)
{
	if (more_changed)
	{
		seckill_cache_rows_changed(changed_items);
		seckill_seat_map_drop_table(MyDatabaseId, changed_items);
	}
	else
		for (int i = 0; i < nrows; i++)
			if (rows[i].state == ROW_CHANGED)
			{
				seckill_cache_row_changed(changed_items, rows[i].item_id);
				seckill_seat_map_drop(changed_items, rows[i].item_id);
			}
	if (place_changed)
		seckill_moves_announce();
	for (int i = 0; i < nemptied; i++)
	{
		seckill_cache_drop_table(emptied[i].items);
		seckill_seat_map_drop_table(MyDatabaseId, emptied[i].items);
	}
	if (OidIsValid(dropped_database))
	{
		seckill_cache_drop_database(dropped_database);
		seckill_schedule_drop_database(dropped_database);
		seckill_ring_drop_database(dropped_database);
		seckill_stat_drop_database(dropped_database);
		seckill_share_drop_database(dropped_database);
		seckill_seat_map_drop_table(dropped_database, InvalidOid);
	}
}

/* The transaction has ended: forget all notes. */
void
seckill_change_end(void)
{
	nown = 0;
	nrows = 0;
	more_locked = more_changed = place_changed = false;
	nemptied = 0;
	dropped_database = InvalidOid;
}


/*
 * The end of a subtransaction
 */

/*
 * Move the notes on rows of a level up, and merge those of one item and level.
 */
static void
lift_rows(int level)
{
	int			n = nrows;

	nrows = 0;
	for (int i = 0; i < n; i++)
	{
		RowNote		note = rows[i];
		RowNote    *outer = find_row(note.item_id, Min(note.level, level - 1));

		if (outer != NULL)
			outer->state = Max(outer->state, note.state);
		else
		{
			note.level = Min(note.level, level - 1);
			rows[nrows++] = note;
		}
	}
}

/* A level has committed: its notes become those of its parent. */
void
seckill_change_commit_level(int level)
{
	lift_rows(level);
	for (int i = 0; i < nemptied; i++)
		emptied[i].level = Min(emptied[i].level, level - 1);
}

/* A level has aborted: forget its notes, and those of the levels inside it. */
void
seckill_change_abort_level(int level)
{
	int			kept = 0;

	while (nown > 0 && own[nown - 1].level >= level)
		nown--;
	for (int i = 0; i < nrows; i++)
		if (rows[i].level < level)
			rows[kept++] = rows[i];
	nrows = kept;
	while (nemptied > 0 && emptied[nemptied - 1].level >= level)
		nemptied--;
}
