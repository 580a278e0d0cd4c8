/*
 * queue_sql.h
 *		Purchases that the queue worker decides.
 */
#ifndef SECKILL_API_QUEUE_SQL_H
#define SECKILL_API_QUEUE_SQL_H

#include "seckill.h"

extern void seckill_queue_sql_buy(Purchase *p);

#endif							/* SECKILL_API_QUEUE_SQL_H */
