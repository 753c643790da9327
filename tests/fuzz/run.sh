#!/bin/bash
# Fuzz each target for a while, from the inputs in tests/fuzz/corpus and from what earlier
# runs found (OBJ/corpus).  An input that ends a target stays as OBJ/NAME-crash-...: put
# it into tests/fuzz/corpus/NAME with the fix.
# usage: tests/fuzz/run.sh OBJ SECONDS
set -eu
cd "$(dirname "$0")/../.."
obj=$1 seconds=$2
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
# Every input becomes files: in memory where that is offered.
[ -n "${TMPDIR:-}" ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
failed=0
for source in tests/fuzz/fuzz_*.c; do
	program=$(basename "$source" .c)
	name=${program#fuzz_}
	mkdir -p "$obj/corpus/$name"
	echo "== $program, $seconds s"
	"$obj/tests/fuzz/$program" -max_total_time="$seconds" -max_len=100000 -timeout=20 \
		-rss_limit_mb=3000 -print_final_stats=1 -verbosity=0 \
		-artifact_prefix="$obj/$name-" \
		"$obj/corpus/$name" "tests/fuzz/corpus/$name" || failed=1
done
exit $failed
