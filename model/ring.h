/*
 * ring.h
 *		Test of the ring of numbers against a plain list.
 */
#ifndef MODEL_RING_H
#define MODEL_RING_H

extern void check_ring(void);

#endif							/* MODEL_RING_H */
