/*
 * check.h
 *		Checks of arguments, and errors that several layers raise.
 */
#ifndef SECKILL_BASE_CHECK_H
#define SECKILL_BASE_CHECK_H

#include "datatype/timestamp.h"
#include "utils/elog.h"

#include "base/compat.h"
#include "seckill.h"

extern void seckill_check_argument(bool isnull, const char *name);
extern int32 seckill_check_units(int64 units, const char *name);
extern int64 seckill_microseconds(const Interval *interval);
SECKILL_NORETURN extern void seckill_unknown_item(int64 item_id);
SECKILL_NORETURN extern void seckill_has_units(int64 item_id);
SECKILL_NORETURN extern void seckill_has_seats(int64 item_id);
SECKILL_NORETURN extern void seckill_item_elsewhere(int64 item_id,
													ItemPlace place);
SECKILL_NORETURN extern void seckill_user_elsewhere(int64 item_id,
													int64 user_id, int node);
SECKILL_NORETURN extern void seckill_order_elsewhere(int64 item_id,
													 int64 order_id);
SECKILL_NORETURN extern void seckill_request_reused(void);
extern void seckill_check_writable(const char *function);
extern bool seckill_node_is_open(void);
extern void seckill_node_check_open(void);
SECKILL_NORETURN extern void seckill_serialization_failure(void);
SECKILL_NORETURN extern void seckill_unknown_order(int64 item_id,
												   int64 order_id);
extern const char *seckill_process_message(const ErrorData *error);

#endif							/* SECKILL_BASE_CHECK_H */
