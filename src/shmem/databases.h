/*
 * databases.h
 *		Search of an array in shared memory that has an element per
 *		database.
 *
 * The ring, the schedule and the statistics each have such an array.  An
 * element is in use while its dbid is not InvalidOid.  dbid is set and reset
 * under the LWLock of the array's file, which the caller of the search has,
 * too.
 */
#ifndef SECKILL_SHMEM_DATABASES_H
#define SECKILL_SHMEM_DATABASES_H

/*
 * Return the index of the element of a database, or, for InvalidOid, of the
 * first unused element; -1 if there is none.  dbid is the field of the first
 * element, size that of an element, n their number.
 */
static inline int
seckill_find_database(const Oid *dbid, Size size, int n, Oid wanted)
{
	for (int i = 0; i < n; i++)
		if (*(const Oid *) ((const char *) dbid + i * size) == wanted)
			return i;
	return -1;
}

#endif							/* SECKILL_SHMEM_DATABASES_H */
