MODULE_big = seckill
SOURCES = $(filter-out src/base/fault.c, $(wildcard src/*.c src/*/*.c))
HEADERS = $(wildcard src/*.h src/*/*.h)
OBJS = seckill.o $(SOURCES:.c=.o)

EXTENSION = seckill seckill_cluster
DATA = seckill--1.0.sql seckill_cluster--1.0.sql
PGFILEDESC = "seckill - flash sales"

REGRESS = extension modes casts many many_items queue queue_many limit limit_window request rate lifecycle window cache guard midway supply kept columns trigger_protocol stat misuse parallel privileges item variants release generate numbered numbered_midway seats coupon envelope lottery
ISOLATION = last_unit savepoint refill restock isolation_levels recall \
	limit_race limit_window_race request_race order_race deadlock delete_item delete_midway wait_visible no_control rewrite \
	queue_last_unit queue_restock stat_race owner_race truncate_order child_rows stale_save item_calls confirm_race put_race list_deadlock items_deadlock items_delete key_change last_number number_race coupon_race close_race seat_race seat_legs
ISOLATION_OPTS = --outputdir=output_iso

PG_CPPFLAGS = -I$(srcdir)/src

# the callback and header signatures of PostgreSQL have parameters to spare
PG_CFLAGS = -Wno-unused-parameter

# calls between files of the extension go to their target at once: nothing is to
# interpose itself there, and each detour costs two cache lines
PG_CFLAGS += -fno-semantic-interposition
comma = ,
SHLIB_LINK += $(if $(filter linux %bsd,$(PORTNAME)),-Wl$(comma)-Bsymbolic-functions)

# a build for tests, which fails where it is told to (src/base/fault.h)
ifdef WITH_FAULTS
PG_CFLAGS += -DSECKILL_FAULTS
OBJS += src/base/fault.o
endif

PG_CONFIG ?= pg_config
export PG_CONFIG

# "make" alone builds, whatever is defined before the include
all:

# These work where PostgreSQL is not installed yet: they see to that.
.PHONY: demo cluster shop shop-test test check-layers test-all test-setup test-debug bench model torture
demo:
	@scripts/demo.sh
# four nodes and a router, see docs/scale.md
cluster:
	@scripts/cluster.sh
# the whole request chain, see shop/README.md
shop:
	@shop/shop.sh
shop-test:
	@shop/test.sh
test:
	@scripts/test.sh
test-setup:
	@scripts/test-setup.sh $(STATES)
check-layers:
	@scripts/check-layers.pl
test-all:
	@scripts/test-all.sh
# KIND is assertions, sanitizers or valgrind
test-debug:
	@scripts/test-debug.sh $(KIND)
bench:
	@bench/bench.sh
torture:
	@torture/torture.sh

# The models need a C compiler only; see model/README.md for the arguments.
MODEL_ARGS = --steps 100000000
SPLIT_ARGS = --steps 10000000
EXPLORE_ARGS = --states 3000000
EXTRA_CLEAN = model/lease_model model/split/split_model .built_with
model: model/lease_model model/split/split_model
	model/lease_model $(MODEL_ARGS)
	model/split/split_model $(SPLIT_ARGS)
	model/split/split_model --explore $(EXPLORE_ARGS)
model/split/split_model: $(wildcard model/split/*.[ch]) model/chance.c model/chance.h \
		model/sets.h model/types.h src/shmem/counters.h
	$(CC) -O2 -Wall -Wextra -o $@ $(wildcard model/split/*.c) model/chance.c
model/lease_model: $(wildcard model/*.[ch]) src/shmem/counters.h src/shmem/numbers.h
	$(CC) -O2 -Wall -Wextra -U_FORTIFY_SOURCE -o $@ $(wildcard model/*.c)

# Debian has pgxs.mk in the package of the client: it takes the headers, too.
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
SERVER_INCLUDES := $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)
ifneq ($(and $(PGXS),$(wildcard $(SERVER_INCLUDES)/postgres.h)),)
include $(PGXS)

# Objects that were built with other headers are made anew.
BUILT_WITH := $(SERVER_INCLUDES) $(shell $(PG_CONFIG) --version) $(PG_CFLAGS)
ifneq ($(BUILT_WITH),$(shell cat .built_with 2>/dev/null))
.PHONY: .built_with
endif
.built_with:
	@rm -f $@
	@echo '$(BUILT_WITH)' > $@

# TAP tests make servers of their own: not part of installcheck, not for root
.PHONY: tapcheck
tapcheck:
	$(prove_installcheck)

$(OBJS) $(OBJS:.o=.bc): .built_with $(HEADERS)
else
.PHONY: all install uninstall installcheck tapcheck check clean
all install uninstall installcheck tapcheck check clean:
ifeq ($(SERVER_INCLUDES),)
	@echo "$(PG_CONFIG) not found: install PostgreSQL's development files" >&2
else
	@echo "$(PG_CONFIG): $(SERVER_INCLUDES)/postgres.h not found: install the server's development files (postgresql-server-dev-N on Debian)" >&2
endif
	@exit 1
endif
