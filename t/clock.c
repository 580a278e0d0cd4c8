/*
 * clock.c
 *		A wall clock that tests can set, for processes that preload this.
 *
 * The file that SECKILL_CLOCK names has two numbers of 64 bits: microseconds
 * to add to the time, and a time since 1970 to stand at, unless 0.  The clock
 * for durations stays what it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile int64_t *setting;
static int	(*real_clock_gettime) (clockid_t, struct timespec *);

__attribute__((constructor))
static void
open_setting(void)
{
	const char *name = getenv("SECKILL_CLOCK");
	int			fd = name != NULL ? open(name, O_RDONLY) : -1;
	void	   *map = MAP_FAILED;

	real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	if (fd >= 0)
		map = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED)
		setting = map;
}

int
clock_gettime(clockid_t id, struct timespec *time)
{
	int			rc = real_clock_gettime(id, time);
	int64_t		us = time->tv_sec * INT64_C(1000000) + time->tv_nsec / 1000;

	if (id != CLOCK_REALTIME || setting == NULL)
		return rc;
	us = setting[1] != 0 ? setting[1] : us + setting[0];
	time->tv_sec = us / 1000000;
	time->tv_nsec = us % 1000000 * 1000;
	return rc;
}

int
gettimeofday(struct timeval *time, void *zone)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	time->tv_sec = now.tv_sec;
	time->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *where)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (where != NULL)
		*where = now.tv_sec;
	return now.tv_sec;
}
