/*
 * changes.h
 *		What the current transaction has done to rows and tables.
 */
#ifndef SECKILL_XACT_CHANGES_H
#define SECKILL_XACT_CHANGES_H

/*
 * What this transaction did to an item's row.  A changed row is locked, too.
 */
typedef enum RowState
{
	ROW_LOCKED,
	ROW_CHANGED					/* is announced to the cache at commit */
} RowState;

extern void seckill_change_begin_own(int64 item_id);
extern void seckill_change_end_own(void);
extern void seckill_change_begin_work(int64 item_id);
extern void seckill_change_end_work(int n);
extern void seckill_change_note_moving(int64 item_id, const int32 *numbers,
									   int n);
extern const int32 *seckill_change_next_moving(int64 item_id, int *at, int *n);
extern bool seckill_change_at_work(int64 item_id);
extern bool seckill_change_is_own(int64 item_id);
extern bool seckill_change_in_own(void);
extern void seckill_change_note_row(int64 item_id, RowState state);
extern void seckill_change_note_all_rows(void);
extern bool seckill_change_locked_row(int64 item_id);
extern bool seckill_change_changed_row(int64 item_id);
extern void seckill_change_note_place(void);
extern void seckill_change_note_emptied(Oid items);
extern bool seckill_change_emptied_items(void);
extern void seckill_change_note_drop_database(Oid dbid);
extern void seckill_change_announce(void);
extern void seckill_change_end(void);
extern void seckill_change_commit_level(int level);
extern void seckill_change_abort_level(int level);

#endif							/* SECKILL_XACT_CHANGES_H */
