#!/bin/bash
# Both programs, all tests and all benches compile without a warning.
# usage: tests/lint/build.sh COMPILER [ROOT]    objects go to build/lint-COMPILER
set -eu
cd "${2:-$(dirname "$0")/../..}"
out=build/lint-$1
make -s -j "$(nproc)" CC="$1" WERROR=1 OBJ="$out" BIN="$out" all test-programs bench-programs
n=$(find "$out" -name '*.o' | wc -l)
[ "$n" -gt 0 ] || { echo "build.sh: $1 has built nothing"; exit 1; }
echo "build: $n objects with $1"
