/*
 * entry.h
 *		Cache entries, as the current transaction may use them.
 */
#ifndef SECKILL_XACT_ENTRY_H
#define SECKILL_XACT_ENTRY_H

extern CacheEntry *seckill_entry_find(int64 item_id);
extern CacheEntry *seckill_entry_enter(int64 item_id);

#endif							/* SECKILL_XACT_ENTRY_H */
