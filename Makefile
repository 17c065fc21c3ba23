# mlagent: `make` builds build/mlagent; `make test`, `make test-long`, `make check`, `make asan test`,
# `make bench`, `make fuzz`, `make replay` (the fuzzers' corpora).
# ROOMS narrows the library to some rooms, BUILD names another build folder.
CC      ?= gcc
BUILD   ?= build
ROOMS   ?= base net dist record task env reward model policy agent collect train eval report serve cli
PKGS    := libutf8proc jansson sqlite3 libgit2 libseccomp libcrypto libcurl libmicrohttpd
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
TESTS   := $(foreach r,$(ROOMS),$(wildcard tests/test_$(r)_*.c)) \
           $(if $(filter agent,$(ROOMS)),$(wildcard tests/attacks/test_*.c))
TESTBIN := $(TESTS:tests/%.c=$(BUILD)/tests/%)
LONGBIN := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/long_*.c))
BENCHES := $(wildcard bench/*.c)
LIB     := $(BUILD)/libmlagent.a

.PHONY: all tests test test-long check asan bench fuzz replay clean
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

# Python texts are taken in as they are by .incbin, which the compiler's dependency list leaves out.
$(BUILD)/env/warm.o: src/env/warm.py
$(BUILD)/task/new_files.o: src/task/new_prepare.py
$(BUILD)/cli/tasks_noise.o: src/cli/tasks_noise.py
$(BUILD)/task/wheels.o: src/task/wheels.py

tests: $(TESTBIN) $(if $(filter cli,$(ROOMS)),$(BUILD)/mlagent)

# Every test is a program of its own with a time limit; all run, and one failure fails the target.
test: tests
	@BUILD=$(BUILD) tests/run $(TESTBIN)

# Proofs on the real models (mlagent model fetch): minutes to an hour, run by hand.
test-long: $(LONGBIN) $(BUILD)/mlagent
	@BUILD=$(BUILD) LIMIT=3600 SHOW=1 tests/run $(LONGBIN)

check:
	tools/check

bench: $(BENCHES:bench/%.c=$(BUILD)/bench/%)
	@bench/run $(BUILD) $(BENCH)

# Readers of outside bytes, each for FUZZ_SECONDS; needs clang and its libFuzzer (libclang-rt-dev).
# Corpora grow in build/fuzz; an input that breaks something is left there and fails the target.
FUZZ_SECONDS ?= 60
FUZZ_action    := env/action env/action_input env/edit env/diff env/editor env/files env/look env/understand* \
                  record/action
FUZZ_csv       := task/*
FUZZ_task      := task/*
FUZZ_gguf      := model/weights model/gguf model/quant model/safetensors model/huggingface model/hf_vocab
FUZZ_adapter   := model/adapter_file $(FUZZ_gguf)
FUZZ_tokenizer := policy/tokenizer policy/bpe policy/pretok policy/normalize policy/tokenizer_json \
                  policy/unicode_table $(FUZZ_gguf)
FUZZ_talk      := collect/talk collect/records record/step record/step_json record/action \
                  record/outcome record/flag
FUZZ_http      := serve/request $(FUZZ_tokenizer)
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS := $(FUZZERS:build/fuzz/%=build/replay/%)
FUZZ_FLAGS := -g -O1 -std=c17 -D_GNU_SOURCE -DUTF8PROC_EXPORTS -Isrc -Itests
fuzz_sources = $(filter tests/%.c,$^) $(wildcard $(FUZZ_$*:%=src/%.c)) $(wildcard src/base/*.c)

build/fuzz/%: tests/fuzz/fuzz_%.c Makefile $(wildcard src/*/*.[ch])
	@mkdir -p build/fuzz/corpus.$*
	clang -fsanitize=fuzzer,address,undefined $(FUZZ_FLAGS) $(fuzz_sources) $(LDLIBS) -o $@

build/replay/%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c Makefile $(wildcard src/*/*.[ch])
	@mkdir -p build/replay
	$(CC) -fsanitize=address,undefined -fno-sanitize-recover=undefined -Wno-unknown-pragmas $(FUZZ_FLAGS) \
	    $(fuzz_sources) $(LDLIBS) -o $@

# The corpora that are kept, under ASan and UBSan, without a fuzzer.
replay: $(REPLAYS)
	@for f in $(REPLAYS); do $$f tests/fuzz/corpus/$$(basename $$f) || exit 1; done

fuzz: $(FUZZERS)
	@for f in $(FUZZERS); do echo "== $$f"; $$f -max_total_time=$(FUZZ_SECONDS) -timeout=20 \
	    -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 -artifact_prefix=build/fuzz/ \
	    build/fuzz/corpus.$$(basename $$f) tests/fuzz/corpus/$$(basename $$f) || exit 1; done

clean:
	rm -rf build

-include $(OBJ:.o=.d) $(BUILD)/cli/main.d $(TESTBIN:=.d)
