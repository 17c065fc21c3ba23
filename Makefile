# mlagent: `make` builds build/mlagent; `make test`, `make check`, `make asan test`, `make bench`.
# ROOMS narrows the library to some rooms, BUILD names another build folder.
CC      ?= gcc
BUILD   ?= build
ROOMS   ?= base net dist record task env reward model policy agent collect train eval report serve cli
PKGS    := libutf8proc jansson sqlite3 libgit2 libseccomp libcrypto
CFLAGS  ?= -O2 -g
override CFLAGS += -std=c17 -D_GNU_SOURCE -Isrc -fopenmp -Wall -Wextra -Wshadow -Wstrict-prototypes \
                   -Wno-unknown-pragmas $(shell pkg-config --cflags $(PKGS))
LDLIBS  := -ldnnl -lcyaml -lyaml $(shell pkg-config --libs $(PKGS)) -lm -lpthread
ifdef WERROR
override CFLAGS += -Werror
endif
ifneq (,$(filter asan,$(MAKECMDGOALS)))
BUILD   := build/asan
override CFLAGS += -O1 -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
endif

SRC     := $(filter-out src/cli/main.c,$(foreach r,$(ROOMS),$(wildcard src/$(r)/*.c)))
OBJ     := $(SRC:src/%.c=$(BUILD)/%.o)
TESTS   := $(foreach r,$(ROOMS),$(wildcard tests/test_$(r)_*.c))
TESTBIN := $(TESTS:tests/%.c=$(BUILD)/tests/%)
BENCHES := $(wildcard bench/*.c)
LIB     := $(BUILD)/libmlagent.a

.PHONY: all tests test check asan bench clean
.SECONDARY:

all: $(BUILD)/mlagent

asan: tests

$(BUILD)/mlagent: $(BUILD)/cli/main.o $(LIB)
	$(CC) $(CFLAGS) $^ $(LDLIBS) -o $@

$(LIB): $(OBJ)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/tests/%: tests/%.c $(LIB) Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -Itests $< $(LIB) -lcmocka $(LDLIBS) -o $@

$(BUILD)/bench/%: bench/%.c $(LIB) Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP $< $(LIB) $(LDLIBS) -o $@

# The warm Python is taken in as it is by .incbin, which the compiler's dependency list leaves out.
$(BUILD)/env/warm.o: src/env/warm.py

tests: $(TESTBIN) $(if $(filter cli,$(ROOMS)),$(BUILD)/mlagent)

# Every test is a program of its own with a time limit; all run, and one failure fails the target.
test: tests
	@BUILD=$(BUILD) tests/run $(TESTBIN)

check:
	tools/check

bench: $(BENCHES:bench/%.c=$(BUILD)/bench/%)
	@bench/run $(BUILD) $(BENCH)

clean:
	rm -rf build

-include $(OBJ:.o=.d) $(BUILD)/cli/main.d $(TESTBIN:=.d)
