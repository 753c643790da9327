#!/bin/bash
# clang-tidy without a warning, as .clang-tidy chooses the checks.  A file is checked
# again only when it, a header of it, or the choice has changed.
# usage: tests/lint/tidy.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/../..}"
mapfile -t files < <(find base index binarize attention server client tests bench \
	-name '*.c' 2>/dev/null | sort)
[ "${#files[@]}" -gt 0 ] || { echo "tidy.sh: found no C file to check"; exit 1; }
mkdir -p build/lint/tidy

# What the analyser cannot see from one file: these two always return -1.
cat >build/lint/known.h <<'C'
#include "base/error.h"
#define error_set(...) (error_set(__VA_ARGS__), -1)
#define error_prefix(...) (error_prefix(__VA_ARGS__), -1)
C
grep -q '^error_set(' base/error.c 2>/dev/null || : >build/lint/known.h

check() { # file
	local flags=(-std=c11 -D_GNU_SOURCE -I. -fopenmp -DHALFTONE_VERSION='"lint"')
	[ "$1" = base/error.c ] || flags+=(-include build/lint/known.h)
	case $1 in
	*_avx2.c | *_avx512.c | *_amx.c) [ "$(uname -m)" = x86_64 ] || return 0 ;;&
	*_avx2.c) flags+=(-mavx2 -mfma) ;;
	*_avx512.c | *_amx.c) flags+=(-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512vpopcntdq -mavx512vbmi) ;;&
	*_amx.c) flags+=(-mamx-tile -mamx-int8) ;;
	esac
	local stamp hash
	stamp=build/lint/tidy/$(echo "$1" | tr / -)
	hash=$({ cat .clang-tidy tests/lint/tidy.sh 2>/dev/null; clang-tidy --version
		clang "${flags[@]}" -E -C "$1"; } | sha256sum)
	if [ "$hash" = "$(cat "$stamp" 2>/dev/null)" ]; then return 0; fi
	clang-tidy --quiet --warnings-as-errors='*' "$1" -- "${flags[@]}" 2>"$stamp.err" ||
		{ cat "$stamp.err"; return 1; }
	echo "$hash" >"$stamp"
}
export -f check
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'check "$1"' check
echo "tidy: ${#files[@]} files"
