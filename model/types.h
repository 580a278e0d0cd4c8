/*
 * types.h
 *		Integers, as the server names them.
 */
#ifndef MODEL_TYPES_H
#define MODEL_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t uint8;
typedef int32_t int32;
typedef int64_t int64;
typedef uint64_t uint64;

#endif							/* MODEL_TYPES_H */
