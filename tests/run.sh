#!/bin/bash
# Run every test: C programs, kernels of other processors, end-to-end scripts, official
# clients.  A script that exits 77 is skipped (it has said why), and so is a program that
# skipped each of its tests; one that skipped some passes and its line says how many.
# Anything else but 0 is a failure.
# usage: tests/run.sh BIN OBJ SAN    (folders of the programs and of the tests)
set -u
cd "$(dirname "$0")/.."
export BIN=$1 OBJ=$2 SAN=${3:-}
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0:allocator_may_return_null=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
passed=0 failed=0 skipped=0 failures=""

# Of a program's output: the tests that it skipped ("[  SKIPPED ] NAME"; cmocka repeats
# them in its summary, behind a count: "[  SKIPPED ] 1 test(s), ...").
skips() { # FILE
	sed -n 's/^\[  SKIPPED \] \([A-Za-z_][A-Za-z0-9_]*\)$/\1/p' "$1" | sort -u
}

run() { # name command...
	local name=$1 start=$SECONDS out rc not="" n=0
	shift
	out=$(mktemp)
	"$@" >"$out" 2>&1 </dev/null
	rc=$?
	case $1 in "$OBJ"/*)
		not=$(skips "$out") n=$(skips "$out" | wc -l)
		[ "$rc" -ne 0 ] || [ "$n" -eq 0 ] || grep -q '^\[       OK \]' "$out" || rc=skipped
	esac
	case $rc in
	0) passed=$((passed + 1))
	   echo "ok    $name ($((SECONDS - start)) s$([ "$n" -eq 0 ] || echo "; $n skipped"))"
	   [ -z "$not" ] || echo "$not" | sed 's/^/      not run: /' ;;
	skipped) skipped=$((skipped + 1)); echo "skip  $name: none of its $n tests could run" ;;
	77) skipped=$((skipped + 1)); echo "skip  $name: $(tail -n 1 "$out")" ;;
	*) failed=$((failed + 1)); failures="$failures $name"
	   echo "FAIL  $name (exit $rc)"; sed 's/^/      /' "$out" | tail -n 60 ;;
	esac
	rm -f "$out"
}

programs=("$OBJ"/tests/unit/test_* "$OBJ"/tests/property/prop_*)
for program in "${programs[@]}"; do
	case $program in *.o | *.d | *'*') continue ;; esac
	[ -e "${program#"$OBJ"/}.c" ] || continue # its source is gone
	run "${program#"$OBJ"/}" "$program"
done
for source in tests/fuzz/fuzz_*.c; do
	[ -e "$source" ] || continue
	name=$(basename "$source" .c)
	run "${source%.c}" "$OBJ/tests/fuzz/$name" tests/fuzz/corpus/"${name#fuzz_}"/*
done
for script in tests/cross/[0-9]*.sh tests/e2e/[0-9]*.sh tests/clients/[0-9]*.sh; do
	[ -e "$script" ] || continue
	case $script in tests/cross/* | tests/clients/*) [ -z "$SAN" ] || continue ;; esac
	run "$script" bash "$script"
done

[ -z "$failures" ] || echo "failed:$failures"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
