#!/bin/bash
# Every C file is as clang-format leaves it.
# usage: tests/lint/format.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/../..}"
mapfile -t files < <(find base index binarize attention server client tests bench \
	-name '*.[ch]' 2>/dev/null | sort)
[ "${#files[@]}" -gt 0 ] || { echo "format.sh: found no C file to check"; exit 1; }
clang-format --dry-run -Werror --ferror-limit=3 "${files[@]}"
echo "format: ${#files[@]} files"
