#!/bin/bash
# Programs and scripts in which threads meet, built with clang's ThreadSanitizer: no two
# threads may touch a byte without an order.  Archer, of clang's OpenMP, tells it in what
# order teams work; first it has to find a planted race and pass its mended twin.
# usage: tests/threads.sh OBJ    (made by `make CC=clang SAN=thread thread-programs`)
set -u
cd "$(dirname "$0")/.."
obj=$1 work=$(mktemp -d) failed=0 passed=0
trap 'rm -rf "$work"' EXIT
export TSAN_OPTIONS=ignore_noninstrumented_modules=1

run() { # NAME COMMAND...
	local name=$1 start=$SECONDS
	shift
	if "$@" >"$work/out" 2>&1 </dev/null; then
		passed=$((passed + 1))
		echo "ok    $name ($((SECONDS - start)) s)"
	else
		failed=$((failed + 1))
		echo "FAIL  $name"
		tail -n 60 "$work/out" | sed 's/^/      /'
	fi
}
raceless() { ! "$1" 2>&1 | grep -q 'WARNING: ThreadSanitizer: data race'; }

for kind in racy:'' clean:'#pragma omp atomic'; do
	cat >"$work/${kind%%:*}.c" <<-END
		#include <stdio.h>
		int main(void)
		{
			int n = 0;
		#pragma omp parallel for num_threads(4)
			for (int i = 0; i < 1000; i++) {
		${kind#*:}
				n += i;
			}
			n++; /* ordered behind the loop, as Archer knows */
			printf("%d\\n", n);
			return 0;
		}
	END
	clang -g -fopenmp -fsanitize=thread -o "$work/${kind%%:*}" "$work/${kind%%:*}.c" || exit 1
done
openmp=$(ldd "$work/clean" | sed -n 's/.*libomp[^ ]* => \([^ ]*\).*/\1/p')
OMP_TOOL_LIBRARIES=$(dirname "$(readlink -f "$openmp")")/libarcher.so
export OMP_TOOL_LIBRARIES
[ -e "$OMP_TOOL_LIBRARIES" ] || { echo "threads.sh: no $OMP_TOOL_LIBRARIES"; exit 1; }
raceless "$work/racy" && { echo "threads.sh: a planted race was not found"; exit 1; }
run "a loop without a race" raceless "$work/clean"

for program in "$obj"/tests/unit/test_* "$obj"/tests/property/prop_*; do
	case $program in *.o | *.d | *'*') continue ;; esac
	run "${program#"$obj"/}" "$program"
done
for script in 16-stress 40-race 44-progressive; do
	run "tests/e2e/$script.sh" env BIN="$obj" OBJ="$obj" SAN=thread bash "tests/e2e/$script.sh"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 5 ]
