#!/bin/bash
# Every lint; fails if one of them does, or if one of them could not have failed.
# usage: tests/lint/run.sh    (make lint)
set -u
cd "$(dirname "$0")/../.."
failed=""

lint() { # name command...
	local name=$1 out start=$SECONDS
	shift
	if out=$("$@" 2>&1); then
		printf 'ok    %-12s %s (%d s)\n' "$name" "$(printf '%s' "$out" | grep . | tail -n 1)" $((SECONDS - start))
	else
		printf 'FAIL  %s\n%s\n' "$name" "$(printf '%s\n' "$out" | sed 's/^/      /' | head -n 80)"
		failed="$failed $name"
	fi
}

for tool in clang clang-format clang-tidy gcc git make nm; do
	command -v $tool >/dev/null || { echo "lint: there is no $tool; run: make deps" >&2; exit 1; }
done
lint layers tests/lint/layers.sh
lint sizes tests/lint/sizes.sh
lint format tests/lint/format.sh
lint gcc tests/lint/build.sh gcc
lint clang tests/lint/build.sh clang
lint names tests/lint/names.sh . build/lint-gcc
lint tidy tests/lint/tidy.sh
lint selftest tests/lint/selftest.sh
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
