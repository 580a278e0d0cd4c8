/*
 * node.h
 *		The number of this node, where several servers sell for one shop.
 *
 * A node that has joined hands out order ids from a range of its own: the
 * node's number is the part of the id above NODE_BITS.  The range is that of
 * the sequence of order ids, so the number cannot disagree with the ids.  The
 * start value of that sequence holds, below NODE_BITS, the timeline of the
 * server when it joined or was last checked against the other nodes.
 *
 * Tickets of the queue carry the number in the same way.  A node that has not
 * joined has the number 0, ids from 1 on, and tickets from FIRST_TICKET on
 * (shmem/ring.c), which is above the tickets of every node.
 */
#ifndef SECKILL_BASE_NODE_H
#define SECKILL_BASE_NODE_H

#define NODE_BITS		40
#define NODE_POSITION(number)	((uint64) (number) & ((UINT64CONST(1) << NODE_BITS) - 1))

/* The greatest number of a node: 53 bits hold all ids and tickets. */
#define NODE_MAX		2047

/* Return the number of the node in an id or a ticket; 0 if there is none. */
static inline int
seckill_node_of(int64 number)
{
	int64		node = number >> NODE_BITS;

	return node > 0 && node <= NODE_MAX ? (int) node : 0;
}

/* Return the ticket that callers get for a position in the queue of a node. */
static inline int64
seckill_node_ticket(int node, uint64 position)
{
	return (int64) (node == 0 ? position :
					(uint64) node << NODE_BITS | NODE_POSITION(position));
}

#endif							/* SECKILL_BASE_NODE_H */
