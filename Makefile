MODULE_big = seckill
OBJS = seckill.o \
	src/buy.o \
	src/catalog.o \
	src/guard.o \
	src/lease.o \
	src/ledger.o \
	src/modes.o \
	src/stats.o \
	src/stock.o \
	src/xact.o

EXTENSION = seckill
DATA = seckill--1.0.sql
PGFILEDESC = "seckill - flash sales"

REGRESS = extension modes window cache guard misuse privileges
ISOLATION = last_unit savepoint refill restock isolation_levels recall \
	deadlock delete_item wait_visible no_control

TAP_TESTS = 1

# the callback and header signatures of PostgreSQL have parameters to spare
PG_CFLAGS = -Wno-unused-parameter

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): src/seckill.h src/compat.h
