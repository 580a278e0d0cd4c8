/*
 * seckill.h
 *		What the rooms of the extension show each other, a section per file.
 */
#ifndef SECKILL_H
#define SECKILL_H

#include "access/htup.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "postmaster/bgworker.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/uuid.h"

#include "base/clock.h"
#include "base/shmem.h"
#include "base/compat.h"
#include "base/fault.h"

/* Order of the labels of the SQL type seckill_mode. */
typedef enum SeckillMode
{
	SECKILL_MODE_NONE,
	SECKILL_MODE_OPTIMISTIC,
	SECKILL_MODE_RETRY,
	SECKILL_MODE_PESSIMISTIC,
	SECKILL_MODE_ADVISORY,
	SECKILL_MODE_CACHE,
	SECKILL_MODE_QUEUE,
	SECKILL_MODE_AUTO
} SeckillMode;

#define SECKILL_MODES	(SECKILL_MODE_AUTO + 1)

/* Order of the labels of the SQL type seckill_outcome. */
typedef enum SeckillOutcome
{
	SECKILL_SOLD,
	SECKILL_SOLD_OUT,
	SECKILL_CONFLICT,
	SECKILL_NOT_STARTED,
	SECKILL_ENDED,
	SECKILL_QUEUED,				/* not decided yet */
	SECKILL_BUSY,
	SECKILL_LIMIT_REACHED,
	SECKILL_DENIED,
	SECKILL_RATE_LIMITED,
	SECKILL_REQUEST_REUSED		/* an error of a call that asks for one purchase */
} SeckillOutcome;

#define SECKILL_OUTCOMES	(SECKILL_REQUEST_REUSED + 1)

/* Order of the labels of the SQL type seckill_order_state. */
typedef enum OrderState
{
	ORDER_PENDING,
	ORDER_CONFIRMED,
	ORDER_CANCELLED,
	ORDER_EXPIRED
} OrderState;

#define ORDER_STATES	(ORDER_EXPIRED + 1)

typedef struct StockEntry StockEntry;

/* What an item's row says of its sale. */
typedef struct SaleRules
{
	TimestampTz starts_at;		/* DT_NOBEGIN: NULL */
	TimestampTz ends_at;		/* DT_NOEND: NULL */
	int32		per_user_limit; /* units; 0: NULL */
	bool		require_token;
	int64		pay_within;		/* microseconds; 0: NULL */
	float4		user_rate;		/* calls a second; -1: NULL */
	int32		user_burst;		/* calls; 0: NULL */
	int32		max_waiters;	/* calls; -1: NULL */
} SaleRules;

/* A row of seckill.items, as the statement that read it saw it. */
typedef struct ItemRow
{
	int32		stock;
	int32		leased;
	int64		lease_id;		/* 0: none */
	int64		version;
	int64		supplied;
	SaleRules	rules;
	bool		mine;			/* written by the current transaction */
} ItemRow;

/* One purchase on its way through the rooms. */
typedef struct Purchase
{
	int64		item_id;
	int64		user_id;
	int32		quantity;
	SeckillMode mode;			/* the one that sells: never auto */
	StockEntry *entry;			/* pinned; NULL: the cache has no place */
	TimestampTz now;			/* of the call */
	int			company;		/* purchases that it leads in a list, or 0 */
	SeckillOutcome outcome;
	int64		order_id;		/* set when sold */
	uint64		ticket;			/* in the queue; 0: not from there */
	SaleRules	rules;			/* of the item, as last looked at */
	bool		has_request;
	pg_uuid_t	request;		/* asked again, the answer is the same */
	const text *token;
	bool		token_checked;	/* is the next one known? */
	bool		token_valid;
	bool		admitted;		/* may be served, see admit.c */
	struct Purchase *twin;		/* the same request, served instead */
} Purchase;


/*
 * seckill.c: settings
 */
extern int	seckill_default_mode;
extern bool seckill_allow_unsafe;
extern int	seckill_max_retries;
extern int	seckill_lease_units;
extern int	seckill_max_items;
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


/*
 * catalog.c: OIDs of the extension's objects in this database
 */
typedef struct SeckillCatalog
{
	Oid			items;			/* seckill.items */
	Oid			items_key;		/* its primary key */
	Oid			orders;			/* seckill.orders */
	Oid			orders_user;	/* its index of limited orders by user */
	Oid			orders_request; /* its index by request */
	Oid			order_ids;		/* the sequence behind its order_id */
	Oid			owner;			/* of seckill.items: whom statements run as */
	Oid			orders_owner;	/* whom the triggers on orders run as */
	Oid			mode_type;		/* seckill_mode */
	Oid			mode[SECKILL_MODES];	/* its values */
	Oid			outcome[SECKILL_OUTCOMES];	/* values of seckill_outcome */
	Oid			state_type;		/* seckill_order_state */
	Oid			state[ORDER_STATES];	/* its values */
} SeckillCatalog;

extern const SeckillCatalog *seckill_catalog(void);
extern int	seckill_catalog_column(Oid table, const char *name);
extern Oid	seckill_catalog_find_mode(const char *label, size_t length);
extern SeckillMode seckill_catalog_mode(Oid value);
extern Datum seckill_catalog_row(FunctionCallInfo fcinfo, Datum *values,
								 bool *nulls);
extern Datum seckill_catalog_result(FunctionCallInfo fcinfo,
									SeckillOutcome outcome,
									bool has_number, int64 number);
extern void seckill_catalog_init(void);


/*
 * ledger.c: every statement on items and orders
 */
typedef struct LedgerCaller
{
	Oid			user;
	int			context;
} LedgerCaller;

/* What an order's row says, once it is locked. */
typedef struct OrderRow
{
	int64		user_id;
	int32		quantity;
	OrderState	state;
} OrderRow;

/* What an administrator may set of an item; src/item.c has the names. */
typedef enum ItemSetting
{
	SETTING_TITLE,
	SETTING_STARTS_AT,
	SETTING_ENDS_AT,
	SETTING_PER_USER_LIMIT,
	SETTING_REQUIRE_TOKEN,
	SETTING_PAY_WITHIN,
	SETTING_USER_RATE,
	SETTING_USER_BURST,
	SETTING_MAX_WAITERS
} ItemSetting;

#define ITEM_SETTINGS	(SETTING_MAX_WAITERS + 1)

/* An item as it is written and read by src/item.c. */
typedef struct ItemDetails
{
	Datum		settings[ITEM_SETTINGS];
	bool		nulls[ITEM_SETTINGS];
	int32		stock;
	int32		leased;
	int64		lease_id;		/* 0: none */
} ItemDetails;

/* Columns of an order that seckill_order() shows. */
#define ORDER_DETAILS	7

typedef struct OrderKey
{
	int64		item_id;
	int64		order_id;
} OrderKey;

/* The order that a request has made. */
typedef struct OrderOfRequest
{
	int64		order_id;
	int64		user_id;
	int32		quantity;
	TransactionId xmin;			/* who wrote it */
} OrderOfRequest;

typedef struct OrderScan OrderScan;

extern void seckill_ledger_begin(LedgerCaller *caller);
extern void seckill_ledger_end(const LedgerCaller *caller);
extern bool seckill_ledger_is_nested(void);
SECKILL_NORETURN extern void seckill_ledger_unserializable(void);
extern void seckill_ledger_lock_items(void);
extern bool seckill_ledger_peek(int64 item_id, ItemRow *row);
extern bool seckill_ledger_glimpse(int64 item_id, ItemRow *row);
extern bool seckill_ledger_has_lock(void);
extern bool seckill_ledger_read(int64 item_id, ItemRow *row);
extern void seckill_ledger_lock(int64 item_id, ItemRow *row);
extern bool seckill_ledger_try_lock(int64 item_id, ItemRow *row);
extern void seckill_ledger_try_lock_many(const int64 *item_ids, int n,
										 ItemRow *rows, bool *locked);
extern bool seckill_ledger_sell(int64 item_id, int32 units);
extern bool seckill_ledger_sell_version(int64 item_id, int32 units,
										int64 version);
extern void seckill_ledger_sell_locked(int64 item_id, int32 from_row,
									   int32 from_lease);
extern void seckill_ledger_probe_many(const int64 *item_ids, int n,
									  bool *unlocked);
extern void seckill_ledger_sell_many(const int64 *item_ids, const int32 *units,
									 int n);
extern void seckill_ledger_overwrite(int64 item_id, int32 stock);
extern void seckill_ledger_lease(int64 item_id, int32 units, int64 lease_id);
extern void seckill_ledger_give_back(int64 item_id, int32 units);
extern void seckill_ledger_return(int64 item_id, int32 units);
extern void seckill_ledger_close(int64 item_id, int32 units);
extern int64 seckill_ledger_sold_on_lease(int64 item_id, int64 lease_id);
extern void seckill_ledger_order(Purchase **list, int n);
extern bool seckill_ledger_order_fenced(Purchase **list, int n,
										int64 lease_id);
extern OrderScan *seckill_ledger_begin_scan(bool by_request);
extern void seckill_ledger_end_scan(OrderScan *s);
extern int64 seckill_ledger_bought(OrderScan *s, int64 item_id,
								   int64 user_id);
extern bool seckill_ledger_requested(OrderScan *s, int64 item_id,
									 const pg_uuid_t *request,
									 OrderOfRequest *order);
extern bool seckill_ledger_confirm(int64 item_id, int64 order_id);
extern bool seckill_ledger_lock_order(int64 item_id, int64 order_id,
									  OrderRow *row);
SECKILL_NORETURN extern void seckill_ledger_not_updated(int64 item_id,
														int64 order_id);
extern void seckill_ledger_confirm_late(int64 item_id, int64 order_id,
										bool limited);
extern void seckill_ledger_cancel(int64 item_id, int64 order_id);
extern int	seckill_ledger_expire(int64 item_id, const OrderKey *orders, int n,
								  TimestampTz now, int64 *units);
extern int	seckill_ledger_overdue(TimestampTz now, const int64 *except,
								   int nexcept, int skip, OrderKey *orders,
								   int max);
extern TimestampTz seckill_ledger_next_pay_by(TimestampTz after);
extern int	seckill_ledger_opening(TimestampTz after, TimestampTz until,
								   int64 *item_ids, int max);
extern TimestampTz seckill_ledger_next_opening(TimestampTz after);
extern void seckill_ledger_limit_orders(int64 item_id);
extern bool seckill_ledger_insert_item(int64 item_id, const ItemDetails *item);
extern void seckill_ledger_change_item(int64 item_id, const ItemDetails *item);
extern bool seckill_ledger_read_item(int64 item_id, ItemDetails *item);
extern bool seckill_ledger_read_order(int64 item_id, int64 order_id,
									  Datum *values, bool *nulls);
extern void seckill_ledger_supply(int64 item_id, int64 units);
extern void seckill_ledger_write_off(int64 item_id, int64 units,
									 int64 lease_id);
extern int64 seckill_ledger_seal(int64 item_id, int64 lease_id,
								 int64 supplied);
extern bool seckill_ledger_has_orders(int64 item_id);
extern bool seckill_ledger_any_lease(void);
extern bool seckill_ledger_any_order(void);


/*
 * stock.c: the stock cache in shared memory; never calls SPI
 */

#include "shmem/counters.h"

/* What an entry tells without a lock. */
typedef struct StockGlance
{
	bool		known;			/* are the rules below loaded? */
	bool		sold_out;
	TimestampTz checked_at;		/* when the row was last read for this */
	SaleRules	rules;
} StockGlance;

/* Units taken from an entry in one step. */
typedef struct StockTaken
{
	int32		units;
	int64		lease_id;
	bool		low;			/* time to begin a refill */
} StockTaken;

/* A place that shows a holder of units. */
typedef struct StockHolder
{
	pg_atomic_uint64 *place;
	uint64		shown;			/* entry << 32 | xid */
} StockHolder;

/* A line of seckill_cache(). */
typedef struct StockLine
{
	int64		item_id;
	int64		lease_id;
	int32		avail;
	int32		held;
	bool		sold_out;
	bool		hot;
} StockLine;

extern const SeckillShmem seckill_stock_shmem;
extern bool seckill_stock_ready(void);

extern StockEntry *seckill_stock_find(Oid items, int64 item_id);
extern StockEntry *seckill_stock_find_in_callback(Oid items, int64 item_id);
extern StockEntry *seckill_stock_enter(Oid items, int64 item_id);
extern void seckill_stock_unpin(StockEntry *entry);
extern void seckill_stock_unpin_level(int level);
extern bool seckill_stock_join(StockEntry *entry, int32 max_waiters);

extern void seckill_stock_glance(StockEntry *entry, StockGlance *glance);
extern bool seckill_stock_claim_check(StockEntry *entry, TimestampTz seen,
									  TimestampTz now);
extern uint64 seckill_stock_generation(StockEntry *entry);
extern void seckill_stock_learn(StockEntry *entry, uint64 generation,
								const ItemRow *row, TimestampTz now);

extern int32 seckill_stock_avail(StockEntry *entry);
extern int64 seckill_stock_lease_id(StockEntry *entry);
extern void seckill_stock_read(StockEntry *entry, StockCounters *counters);
extern void seckill_stock_take(StockEntry *entry, int32 min, int32 max,
							   StockTaken *taken);
extern void seckill_stock_adjust(StockEntry *entry, int64 lease_id,
								 int32 avail, int32 held);
extern StockVerdict seckill_stock_judge(StockEntry *entry, uint64 generation,
										const ItemRow *row, int32 quantity,
										const StockOwn *own);
extern bool seckill_stock_is_vacant(StockEntry *entry, const StockOwn *own);
extern void seckill_stock_renew(StockEntry *entry, int64 lease_id);
extern bool seckill_stock_close(StockEntry *entry);
extern bool seckill_stock_stale(StockEntry *entry, const ItemRow *row);
extern void seckill_stock_set_dry(StockEntry *entry, bool dry);

extern void seckill_stock_set_refilling(StockEntry *entry, bool refilling);
extern bool seckill_stock_is_refilling(StockEntry *entry);

extern bool seckill_stock_heat(StockEntry *entry, int32 calls);
extern void seckill_stock_note_conflict(StockEntry *entry);
extern void seckill_stock_preheat(StockEntry *entry);

extern void seckill_stock_publish_holder(int place, StockEntry *entry,
										 TransactionId xid);
extern void seckill_stock_withdraw_holder(int place);
extern void seckill_stock_begin_move(void);
extern void seckill_stock_end_move(void);
extern bool seckill_stock_other_holder(StockEntry *entry, StockHolder *holder);
extern void seckill_stock_forget_holder(StockHolder *holder);
extern bool seckill_stock_has_lost(StockEntry *entry, const StockOwn *own);
extern int32 seckill_stock_drop_lost(StockEntry *entry, int32 own_units);

extern void seckill_stock_changed(Oid items, int64 item_id);
extern void seckill_stock_changed_all(Oid items);
extern bool seckill_stock_has_table(Oid items);
extern void seckill_stock_drop_table(Oid items);
extern void seckill_stock_drop_database(Oid dbid);
extern int	seckill_stock_list(Oid items, StockLine **lines);
extern int	seckill_stock_index(const StockEntry *entry);
extern StockEntry *seckill_stock_next(Oid items, int *next, int64 *item_id);

/* Places where one transaction can hold units. */
#define SECKILL_PLACES	256


/*
 * xact.c: what this transaction holds; the callbacks
 */

/* What this transaction did to an item's row, each including the former. */
typedef enum RowState
{
	ROW_LOCKED,
	ROW_CHANGED					/* the cache must hear of it at commit */
} RowState;

extern void seckill_xact_init(void);
extern StockEntry *seckill_entry_find(int64 item_id);
extern StockEntry *seckill_entry_enter(int64 item_id);
extern void seckill_hold_end(bool committed);
extern bool seckill_hold_any(void);
extern void seckill_hold_commit_level(int level);
extern void seckill_hold_abort_level(int level);
extern void seckill_change_announce(void);
extern void seckill_change_end(void);
extern void seckill_change_commit_level(int level);
extern void seckill_change_abort_level(int level);
extern bool seckill_xact_take(StockEntry *entry, int32 quantity,
							  StockTaken *taken);
extern bool seckill_xact_take_all(StockEntry *entry, StockTaken *taken);
extern void seckill_xact_return(StockEntry *entry, const StockTaken *taken);
extern bool seckill_xact_has_room(void);
extern void seckill_xact_credit(StockEntry *entry, int64 lease_id,
								int32 units);
extern void seckill_xact_own(StockEntry *entry, StockOwn *own);
extern bool seckill_xact_uses(StockEntry *entry, int32 held);
extern void seckill_xact_start_refill(StockEntry *entry);
extern void seckill_xact_end_refill(StockEntry *entry);
extern void seckill_xact_note_row(int64 item_id, RowState state);
extern bool seckill_xact_locked_row(int64 item_id);
extern bool seckill_xact_changed_row(int64 item_id);
extern bool seckill_xact_emptied_items(void);
extern void seckill_xact_begin_own(int64 item_id);
extern void seckill_xact_end_own(void);
extern bool seckill_xact_is_own(int64 item_id);
extern bool seckill_xact_in_own(void);
extern void seckill_xact_note_emptied(Oid items);
extern void seckill_xact_note_drop_database(Oid dbid);
extern bool seckill_xact_waits_for_standby(void);
extern void seckill_xact_await_standby(void);
extern void seckill_xact_await_flush(TransactionId xid, bool always);
extern void seckill_xact_flush_seen(void);


/*
 * lease.c: units between row and cache
 */

/*
 * Classes of our advisory locks, the fourth field of the tag.  The
 * application's own are of class 1 and 2.
 */
#define SECKILL_LOCK_BUYERS		0x5EC	/* buyers of the locking modes */
#define SECKILL_LOCK_REFILL		0x5ED	/* the role of the refiller */
#define SECKILL_LOCK_USER		0x5EE	/* purchases of one user, see admit.c */
#define SECKILL_LOCK_REQUEST	0x5EF	/* purchases of one request */

extern void seckill_lock_tag(LOCKTAG *tag, int64 item_id, uint16 class);
extern bool seckill_lock(const LOCKTAG *tag, LOCKMODE mode, bool may_wait);
extern void seckill_unlock(const LOCKTAG *tag, LOCKMODE mode);
extern void seckill_lock_await_xact(TransactionId xid);
extern bool seckill_lock_has_table(Oid table);
extern bool seckill_lock_database_is_taken(void);
extern bool seckill_lease_owns_row(int64 item_id);
extern void seckill_lease_line_up(int64 item_id);
extern uint64 seckill_lease_generation(const Purchase *p);
extern StockVerdict seckill_lease_judge(const Purchase *p, const ItemRow *row,
										uint64 generation);
extern bool seckill_lease_obtain(Purchase *p, StockTaken *taken);
extern void seckill_lease_top_up(Purchase *p);
extern void seckill_lease_settle(Purchase *p, ItemRow *row);
extern bool seckill_lease_has_lost(StockEntry *entry);
extern bool seckill_lease_drop_lost(Purchase *p, ItemRow *row, int32 own);
extern void seckill_lease_await_holder(StockEntry *entry);
extern void seckill_lease_await_units(Purchase *p);
extern void seckill_lease_vacate(Purchase *p);
extern int32 seckill_lease_empty(Purchase *p, ItemRow *row);
extern bool seckill_lease_prepare(int64 item_id);


/*
 * batch.c: purchases decided on locked rows
 */

/* How a buyer can leave that waits elsewhere for the decision. */
typedef struct BuyerCallbacks
{
	/* the purchase is decided now: false if the buyer has left */
	bool		(*take) (const Purchase *p);
	/* it is not decided now: the buyer may leave */
	void		(*put_back) (const Purchase *p);
} BuyerCallbacks;

/* The purchases of one item in one transaction. */
typedef struct Sale
{
	ItemRow		row;			/* as it will be */
	const BuyerCallbacks *buyers;	/* NULL: they cannot leave */
	int32		from_row;		/* units sold, to be written to the row */
	int32		from_lease;
	TimestampTz now;
} Sale;

extern void seckill_sale_begin(Sale *sale, const ItemRow *row,
							   const BuyerCallbacks *buyers);
extern SeckillOutcome seckill_sale_decide(Sale *sale, Purchase *p,
										  bool may_wait);
extern void seckill_sale_end(const Sale *sale, int64 item_id);
extern void seckill_batch_order(Purchase **list, int n);
extern void seckill_batch_decide(Purchase **list, int n, bool may_wait,
								 const BuyerCallbacks *buyers);


/*
 * admit.c: limits and exact retries
 */
extern bool seckill_admit_has_lock(const Purchase *p);
extern bool seckill_answer_request(Purchase *p);
extern int	seckill_admit_requests(Purchase **list, int n, bool may_wait);
extern void seckill_answer_twins(Purchase **list, int n);
extern int	seckill_admit_users(Purchase **list, int n, bool may_wait);


/*
 * token.c: admission tokens
 */
extern bool seckill_token_admits(const Purchase *p);
extern text *seckill_token_make(int64 item_id, int64 user_id,
								TimestampTz expiry);


/*
 * rate.c: how often a user may call
 */
extern const SeckillShmem seckill_rate_shmem;
extern bool seckill_rate_applies(const Purchase *p);
extern bool seckill_rate_admits(const Purchase *p);


/*
 * modes.c: the modes
 */
extern void seckill_mode_run(Purchase **list, int n);


/*
 * queue.c: the ring
 */

/* Is the item one of those to be read? */
typedef bool (*QueueFilter) (int64 item_id, const void *arg);

extern const SeckillShmem seckill_queue_shmem;
extern SeckillOutcome seckill_queue_buy(Purchase *p);
extern SeckillOutcome seckill_queue_submit(const Purchase *p, uint64 *ticket);
extern SeckillOutcome seckill_queue_result(int64 number, ClockTime until,
											 int64 *order_id);
extern void seckill_queue_abandon(void);
extern void seckill_queue_drop_database(Oid dbid);
extern int64 seckill_queue_backlog(int *pid);

extern bool seckill_queue_claim(Oid dbid, uint32 *failures);
extern void seckill_queue_started(void);
extern void seckill_queue_release(bool restart);
extern bool seckill_queue_retire(void);
extern bool seckill_queue_sleep(int timeout_ms);
extern void seckill_queue_nap(uint64 seen, int timeout_ms);

/* Where the worker reads on: the purchases that were there at first. */
typedef struct QueueRange
{
	uint64		next;
	uint64		end;
} QueueRange;

extern QueueRange seckill_queue_range(void);
extern int	seckill_queue_read(QueueRange *range, Purchase *jobs, int max,
							   QueueFilter accept, const void *arg);
extern bool seckill_queue_take(const Purchase *job);
extern void seckill_queue_put_back(const Purchase *job);
extern bool seckill_queue_awaited(const Purchase *job);
extern void seckill_queue_publish(const Purchase *jobs, int n,
								  bool confirmed);
extern void seckill_queue_fail(const Purchase *job, const ErrorData *error);


/*
 * worker.c: the batch loop
 */
extern bool seckill_worker_register(void);
extern uint32 seckill_worker_wait_event(void);
extern void seckill_worker_committed(void);


/*
 * order.c: the life of an order
 */
extern void seckill_put_back(int64 item_id, int64 units);
SECKILL_NORETURN extern void seckill_unknown_order(int64 item_id,
												   int64 order_id);


/*
 * schedule.c: what is due when
 */
extern const SeckillShmem seckill_schedule_shmem;
extern void seckill_schedule_drop_database(Oid dbid);
extern void seckill_schedule_note(TimestampTz time);
extern void seckill_schedule_end(bool committed);
extern bool seckill_schedule_attend(void);
extern void seckill_schedule_take(void);
extern void seckill_schedule_put(TimestampTz time);
extern void seckill_schedule_look(int64 delay);
extern int64 seckill_schedule_delay(void);
extern void seckill_schedule_worked(void);
extern void seckill_schedule_failed(void);
extern void seckill_schedule_leave(void);
extern void seckill_schedule_launcher(void);
extern void seckill_schedule_visit(Oid dbid, int64 delay);
extern bool seckill_schedule_read(int i, Oid *dbid, int64 *delay);
extern void seckill_schedule_handled(int i);


/*
 * launcher.c: the process that starts keepers
 */
extern void seckill_launcher_init(void);


/*
 * expiry.c: orders that were not paid, in the keeper
 */

/* How often the keeper looks, in ms, unless there is more than a batch. */
#define SECKILL_KEEPER_NAP	100

extern int64 seckill_expire_overdue(TimestampTz now);
extern bool seckill_expiry_remembers(void);


/*
 * process.c: what the extension's own processes have in common
 */

/* What a transaction does. */
typedef void (*ProcessTask) (void *arg);

/* Messages of a kind that were logged of late; zeroes at first. */
typedef struct LogKind
{
	ClockTime	since;
	int			lines;
} LogKind;

extern void seckill_process_describe(BackgroundWorker *worker,
									 const char *type, const char *function);
extern void seckill_process_init(void);
extern void seckill_process_interrupts(void);
extern void seckill_process_begin(int lock_timeout_ms);
extern void seckill_process_commit(void);
extern ErrorData *seckill_process_try(ProcessTask task, void *arg,
									  int lock_timeout_ms);
extern ErrorData *seckill_process_recover(MemoryContext context);
extern bool seckill_process_run_soon(ProcessTask task, void *arg,
									 int lock_timeout_ms);
extern bool seckill_process_is_passing(const ErrorData *error);
extern const char *seckill_process_message(const ErrorData *error);
extern void seckill_process_sleep(int64 delay);
extern bool seckill_process_may_log(LogKind *kind, int max);


/*
 * stats.c: statistics
 */

/* What is counted of a database, in the order of the columns. */
typedef enum SeckillStat
{
	/* the queue's worker */
	SECKILL_STAT_STARTS,
	SECKILL_STAT_BATCHES,
	SECKILL_STAT_DECIDED,		/* purchases */
	SECKILL_STAT_PUT_OFF,		/* times that a purchase was */
	SECKILL_STAT_FAILED,		/* purchases that got an error */
	/* any process */
	SECKILL_STAT_SETTLES,
	SECKILL_STAT_SETTLED_UNITS,
	SECKILL_STAT_REFILLS,
	/* what is done by the clock */
	SECKILL_STAT_EXPIRED,		/* orders */
	SECKILL_STAT_EXPIRY_BATCHES,
	SECKILL_STAT_PREWARMS
} SeckillStat;

#define SECKILL_STATS	(SECKILL_STAT_PREWARMS + 1)

/* Counters of an item in one mode, in the order of the view's columns. */
typedef enum CallStat
{
	CALL_CALLS,
	CALL_OUTCOMES,				/* the first of so many */
	CALL_UNITS = CALL_OUTCOMES + SECKILL_OUTCOMES,
	CALL_RETRIES,
	CALL_REFILLS,
	CALL_WAITS,
	CALL_WAIT_TIME,				/* nanoseconds, as all times here */
	CALL_TOTAL_TIME,
	CALL_MAX_TIME
} CallStat;

#define CALL_STATS		(CALL_MAX_TIME + 1)

/* What is counted of an item, by mode. */
typedef int64 StatSums[SECKILL_MODES][CALL_STATS];

/* What a process has met. */
typedef struct StatEvents
{
	int64		retries;
	int64		refills;
	int64		waits;
	int64		wait_time;		/* nanoseconds */
} StatEvents;

/* A call under way. */
typedef struct StatCall
{
	instr_time	start;
	StatEvents	before;
} StatCall;

extern const SeckillShmem seckill_stat_shmem;
extern void seckill_stat_forget(int index);
extern void seckill_stat_drop_database(Oid dbid);
extern void seckill_stat_count(SeckillStat what, int64 n);
extern void seckill_stat_note_retry(void);
extern void seckill_stat_note_refill(void);
extern void seckill_stat_note_wait(instr_time start);
extern void seckill_stat_begin(StatCall *call);
extern void seckill_stat_end(const StatCall *call, const Purchase *list, int n,
							 int index);
extern void seckill_stat_decided(const Purchase *p, int index, bool awaited);
extern bool seckill_stat_read_calls(int index, StatSums sums,
									TimestampTz *since);
extern void seckill_stat_reset_calls(int index);
extern bool seckill_stat_read_counts(int64 *counts, TimestampTz *since);
extern void seckill_stat_reset_counts(void);


/*
 * buy.c: the call
 */
extern void seckill_check_argument(bool isnull, const char *name);
extern int32 seckill_check_units(int64 units, const char *name);
extern int64 seckill_microseconds(const Interval *interval);
extern void seckill_check_writable(const char *function);
extern void seckill_check_queue(void);
extern void seckill_init_purchase(Purchase *p, int64 item_id, int64 user_id,
								  int64 quantity, SeckillMode mode);
extern SeckillOutcome seckill_check_window(const SaleRules *rules,
										   TimestampTz now);
extern SeckillOutcome seckill_check_rules(Purchase *p);
extern void seckill_take_rules(Purchase *p, const SaleRules *rules);
SECKILL_NORETURN extern void seckill_unknown_item(int64 item_id);
SECKILL_NORETURN extern void seckill_request_reused(void);

#endif							/* SECKILL_H */
