/*
 * settings.h
 *		Configuration parameters (GUCs); seckill.max_retries is
 *		seckill_max_retries and so on.
 */
#ifndef SECKILL_BASE_SETTINGS_H
#define SECKILL_BASE_SETTINGS_H

extern int	seckill_default_mode;
extern bool seckill_allow_unsafe;
extern int	seckill_max_retries;
extern int	seckill_lease_units;
extern int	seckill_max_items;
extern int	seckill_max_numbered_items;
extern bool seckill_direct_writes;
extern char *seckill_token_key;
extern char *seckill_token_old_key;
extern int	seckill_hot_rate;
extern int	seckill_queue_size;
extern int	seckill_queue_batch;
extern int	seckill_queue_idle_time;
extern int	seckill_open_ahead;
extern int	seckill_naptime;
extern bool seckill_queue_notify;
extern double seckill_user_rate;
extern int	seckill_user_burst;
extern int	seckill_max_users;
extern int	seckill_max_waiters;
extern int	seckill_seat_memory;
extern int	seckill_move_wait;
extern int	seckill_move_timeout;
extern bool seckill_lossless;
extern void seckill_settings_define(void);

#endif							/* SECKILL_BASE_SETTINGS_H */
