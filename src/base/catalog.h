/*
 * catalog.h
 *		OIDs of the extension's objects in the current database.
 */
#ifndef SECKILL_BASE_CATALOG_H
#define SECKILL_BASE_CATALOG_H

#include "access/xlogdefs.h"

#include "seckill.h"

/* Valid until the next call of seckill_catalog(). */
typedef struct SeckillCatalog
{
	uint64		generation;		/* rises with each look-up, from 1 */
	Oid			items;			/* seckill.items */
	Oid			items_key;		/* its primary key */
	Oid			orders;			/* seckill.orders */
	Oid			orders_user;	/* its index of limited orders by user */
	Oid			orders_request; /* its index by request_id */
	Oid			orders_unit;	/* its index by unit */
	Oid			releases;		/* seckill.releases */
	Oid			prizes;			/* seckill.prizes */
	Oid			commitments;	/* seckill.commitments */
	Oid			order_ids;		/* the sequence behind its order_id */
	int			node;			/* number of this node, see node.h; 0: none */
	TimeLineID	node_timeline;	/* on which it joined */
	Oid			units;			/* seckill.units */
	Oid			units_key;		/* its primary key */
	Oid			units_code;		/* its index by code */
	Oid			seats;			/* seckill.seats */
	Oid			seats_key;		/* its primary key */
	Oid			owner;			/* of seckill.items; statements run as it */
	Oid			orders_owner;	/* of seckill.orders; its triggers run as it */
	Oid			releases_owner; /* of seckill.releases */
	Oid			seats_owner;	/* of seckill.seats, likewise */
	Oid			units_owner;	/* of seckill.units */
	Oid			prizes_owner;	/* of seckill.prizes */
	Oid			commitments_owner;	/* of seckill.commitments */
	Oid			mode_type;		/* seckill_mode */
	Oid			mode[SECKILL_MODES];	/* its values */
	Oid			outcome[SECKILL_OUTCOMES];	/* values of seckill_outcome */
	Oid			redeem_outcome[REDEEM_OUTCOMES];	/* seckill_redeem_outcome */
	Oid			state_type;		/* seckill_order_state */
	Oid			state[ORDER_STATES];	/* its values */
} SeckillCatalog;

extern int	seckill_catalog_column(Oid table, const char *name);
extern const SeckillCatalog *seckill_catalog(void);
extern Oid	seckill_catalog_cluster_owner(const char *name);
extern SeckillMode seckill_catalog_mode(Oid value);
extern Oid	seckill_catalog_find_mode(const char *label, size_t length);
extern void seckill_catalog_init(void);

#endif							/* SECKILL_BASE_CATALOG_H */
