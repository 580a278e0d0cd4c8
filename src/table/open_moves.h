/*
 * open_moves.h
 *		Moves of items between nodes, of the extension seckill_cluster.
 */
#ifndef SECKILL_TABLE_OPEN_MOVES_H
#define SECKILL_TABLE_OPEN_MOVES_H

extern int	seckill_moves_tend(void);
extern bool seckill_node_reopen(void);

#endif							/* SECKILL_TABLE_OPEN_MOVES_H */
