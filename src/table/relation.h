/*
 * relation.h
 *		TODO
 */
#ifndef SECKILL_TABLE_RELATION_H
#define SECKILL_TABLE_RELATION_H

#include "utils/relcache.h"

extern Relation seckill_open_items(void);
extern void seckill_ledger_lock_items(void);
extern bool seckill_ledger_has_lock(void);

#endif							/* SECKILL_TABLE_RELATION_H */
