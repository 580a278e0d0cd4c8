/*
 * relation.h
 *		TODO
 */
#ifndef SECKILL_TABLE_RELATION_H
#define SECKILL_TABLE_RELATION_H

#include "utils/relcache.h"

extern Relation seckill_relation_open_items(void);
extern void seckill_relation_lock_items(void);
extern bool seckill_relation_locked_by_me(void);

#endif							/* SECKILL_TABLE_RELATION_H */
