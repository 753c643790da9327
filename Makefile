# make             both programs into build/
# make demo        63,000 real documents served and searched (ONCE=1: check and leave)
# make test        the whole suite     make SAN=address,undefined test    with sanitizers
# make test-long   the same with more rounds of kill -9, and test-threads
# make test-threads   what has threads with ThreadSanitizer (clang, its OpenMP)
# make test-emulated   kernels of AVX-512 and AMX on a machine that Bochs emulates
# make fuzz        libFuzzer on what reads text and models, FUZZ_SECONDS=60 each (clang)
# make bench       figures against rivals and limits
# make bench-headline bench-graphs bench-open_loop bench-growth bench-filters   over the
#                  network, beside rivals, for hours: the tables of docs/performance.md
# make bench-binarize   binarizers beside their rivals: the tables of docs/binarizer.md
# make training    build/training.so: what makes training on processors fast
# make lint        format, layers, names, sizes, clang-tidy
# make deps        install what building and testing need (apt-get)
# V=1 shows the compiler's command lines; WERROR=1 makes warnings errors.

ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
WERROR ?=
FUZZ ?=
FUZZ_SECONDS ?= 60
V ?=
Q := $(if $(V),,@)
VERSION := 0.1.0

ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)
ifneq (,$(FUZZ))
SAN := fuzzer-no-link,address,undefined
endif
KIND := $(if $(FUZZ),fuzz,$(if $(SAN),$(shell echo san-$(SAN) | tr , -),release))
OBJ := build/$(KIND)
BIN := $(if $(SAN),$(OBJ),build)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wstrict-prototypes \
	-Wmissing-prototypes $(if $(WERROR),-Werror)
# gcc spends a minute and 700 MB on where variables are in unrolled, checked kernels.
UNTRACKED := $(if $(findstring clang,$(CC)),,-fno-var-tracking)
OPT := $(if $(SAN),-O1 -fno-omit-frame-pointer $(UNTRACKED) -fsanitize=$(SAN),-O2)
# gcc's libgomp and TSan do not get along: that build has no OpenMP; clang's libomp tells
# TSan what it does (make test-threads).  Fuzzing needs none.
NO_OPENMP := $(FUZZ)$(if $(findstring clang,$(CC)),,$(findstring thread,$(SAN)))
OPENMP := $(if $(NO_OPENMP),-Wno-unknown-pragmas,-fopenmp)
HARDEN := $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fPIE
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -I. -g $(OPT) $(WARN) $(HARDEN) $(OPENMP) \
	-ffp-contract=off -pthread -DHALFTONE_VERSION='"$(VERSION)"' $(CFLAGS)
ALL_LDFLAGS := -pthread $(OPENMP) $(if $(SAN),-fsanitize=$(SAN)) \
	-pie -Wl,-z,relro,-z,now $(LDFLAGS)
LIBS := -levent_core -levent_extra -llmdb -lcjson -lutf8proc -lroaring -lm

FOLDERS := base index binarize attention server client
SRC := $(foreach d,$(FOLDERS),$(wildcard $(d)/*.c))
MAINS := server/main.c client/main.c
LIB_OBJ := $(patsubst %.c,$(OBJ)/%.o,$(filter-out $(MAINS),$(SRC)))
LIB := $(OBJ)/libhalftone.a
TESTS := $(patsubst %.c,$(OBJ)/%,$(wildcard tests/unit/test_*.c tests/property/prop_*.c))
PARITY := $(patsubst %.c,$(OBJ)/%,$(wildcard tests/parity/*.c))
SUPPORT := $(patsubst %.c,$(OBJ)/%.o,$(wildcard tests/support/*.c))
# A fuzz target is a test too: it replays the inputs in tests/fuzz/corpus.
FUZZERS := $(patsubst %.c,$(OBJ)/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_MAIN := $(if $(FUZZ),,$(OBJ)/tests/fuzz/replay.o)
# What attention/training/fast*.py call, and what that needs of the engine.
TRAINING := $(patsubst %.c,$(OBJ)/%.o,$(wildcard attention/training/fast/*.c \
	attention/linear*.c attention/rows*.c) $(addprefix base/,alloc.c cpu.c error.c log.c rng.c))
BENCHES := $(patsubst %.c,$(OBJ)/%,$(wildcard bench/bench_*.c))
BENCH_SUPPORT := $(patsubst %.c,$(OBJ)/%.o,$(filter-out $(wildcard bench/bench_*.c),$(wildcard bench/*.c)))

all: $(BIN)/halftone-server $(BIN)/halftone

# The only per-file flags; what is in such a file runs after cpu_has() said so.
ifneq (,$(filter x86_64,$(ARCH)))
$(OBJ)/%_avx2.o: ISA := -mavx2 -mfma
AVX512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni \
	-mavx512vpopcntdq -mavx512vbmi
$(OBJ)/%_avx512.o: ISA := $(AVX512)
$(OBJ)/%_amx.o: ISA := $(AVX512) -mamx-tile -mamx-int8
endif
ifneq (,$(filter aarch64,$(ARCH)))
$(OBJ)/%_neon.o: ISA := -march=armv8.2-a+dotprod
endif

$(OBJ)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo '  cc   $<'
	$(Q)$(CC) $(ALL_CFLAGS) $(ISA) -MMD -MP -c -o $@ $<

# The page is linked in as bytes.
$(OBJ)/server/page_html.o: server/page.html
	@mkdir -p $(@D)
	$(Q)$(LD) -r -z noexecstack -b binary -o $@ $<
# So is the API's contract.
$(OBJ)/docs/openapi_yaml.o: docs/openapi.yaml
	@mkdir -p $(@D)
	$(Q)$(LD) -r -z noexecstack -b binary -o $@ $<
LINKED := $(OBJ)/server/page_html.o $(OBJ)/docs/openapi_yaml.o

$(LIB): $(LIB_OBJ) $(LINKED)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BIN)/halftone-server: $(OBJ)/server/main.o $(LIB)
	@echo '  link $@'
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
$(BIN)/halftone: $(OBJ)/client/main.o $(LIB)
	@echo '  link $@'
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
$(TESTS) $(PARITY): %: %.o $(SUPPORT) $(LIB)
	@echo '  link $@'
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(LIBS)
$(FUZZERS): %: %.o $(FUZZ_MAIN) $(OBJ)/tests/support/guard.o $(LIB)
	@echo '  link $@'
	$(Q)$(CC) $(ALL_LDFLAGS) $(if $(FUZZ),-fsanitize=fuzzer) -o $@ $^ $(LIBS)
$(BENCHES): %: %.o $(BENCH_SUPPORT) \
	$(OBJ)/tests/support/models.o $(OBJ)/tests/support/models_encoder.o $(LIB)
	@echo '  link $@'
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# Sums while a model learns have no order of their own.
$(OBJ)/attention/training/fast/hash.o: ISA := -O3 -ffp-contract=fast -Wno-psabi
$(BIN)/training.so: $(TRAINING)
	@echo '  link $@'
	$(Q)$(CC) -shared -pthread $(OPENMP) $(LDFLAGS) -o $@ $^ -lm

# A build that a target starts uses every processor.
BUILD := $(MAKE) $(if $(findstring j,$(firstword $(MAKEFLAGS))),,-j$(shell nproc))

deps:
	tools/deps.sh build test
demo:
	tools/deps.sh build
	+$(BUILD) all
	demo/demo.sh $(if $(ONCE),--once)
test:
	tools/deps.sh build test
	+$(BUILD) all test-programs
	tests/run.sh $(BIN) $(OBJ) '$(SAN)'
test-long:
	tools/deps.sh build test
	+$(BUILD) all test-programs
	LONG=1 tests/run.sh $(BIN) $(OBJ) '$(SAN)'
	+$(MAKE) test-threads
# A test has threads where its source makes some, or scans with OpenMP.
THREADED := $(patsubst %.c,$(OBJ)/%,$(shell grep -l pthread_create tests/unit/*.c) \
	tests/property/prop_flat.c)
thread-programs: all $(THREADED)
test-threads:
	tools/deps.sh build test threads
	+$(BUILD) CC=clang SAN=thread thread-programs
	tests/threads.sh build/san-thread
test-emulated:
	tools/deps.sh build test emulated
	tests/emulated/run.sh
fuzz:
	tools/deps.sh build fuzz
	+$(BUILD) CC=clang FUZZ=1 fuzz-programs
	tests/fuzz/run.sh build/fuzz $(FUZZ_SECONDS)
bench:
	tools/deps.sh build bench
	+$(BUILD) all bench-programs
	bench/run.sh $(OBJ)
OVER_HTTP := headline graphs open_loop growth filters
$(OVER_HTTP:%=bench-%): bench-%:
	tools/deps.sh build bench peers
	+$(BUILD) all
	bench/$*.sh
bench-binarize:
	tools/deps.sh build bench
	+$(BUILD) all
	bench/binarizers/bench.sh
training:
	+$(BUILD) OBJ=$(OBJ)/shared CFLAGS='$(CFLAGS) -fPIC' $(BIN)/training.so
lint:
	tools/deps.sh build lint
	tests/lint/run.sh
test-programs: $(TESTS) $(PARITY) $(FUZZERS)
fuzz-programs: $(FUZZERS)
bench-programs: $(BENCHES)
clean:
	rm -rf build

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)
.PHONY: all deps demo test test-long test-threads thread-programs test-emulated fuzz bench bench-binarize $(OVER_HTTP:%=bench-%) training lint test-programs fuzz-programs bench-programs clean
.SECONDARY:
