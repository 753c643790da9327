#!/bin/bash
# Claim: tests/run.sh tells a test that was skipped from one that passed: a program
# whose every test was skipped counts as skipped, one that skipped some says how many
# and which; a failure is a failure, with skips or without; a run in which nothing
# passed has failed.
. "$(dirname "$0")/common.sh"
HOUSE=$WORK/house
mkdir -p "$HOUSE/tests/unit" "$HOUSE/tests/e2e" "$HOUSE/obj/tests/unit"
cp "$ROOT/tests/run.sh" "$HOUSE/tests"

program() { # NAME EXIT LINE...: a test program that prints these lines
	touch "$HOUSE/tests/unit/$1.c"
	{ echo '#!/bin/bash'; printf 'echo "%s"\n' "${@:3}"; echo "exit $2"; } \
		>"$HOUSE/obj/tests/unit/$1"
	chmod +x "$HOUSE/obj/tests/unit/$1"
}

said() { # NAME PATTERN: a line of the run
	check "$1" grep -Eq "$2" "$WORK/said"
}

program test_all 0 '[ RUN      ] a' '[  SKIPPED ] a' '[==========] 1 test(s) run.' \
	'[  PASSED  ] 0 test(s).' '[  SKIPPED ] 1 test(s), listed below:' '[  SKIPPED ] a'
bash "$HOUSE/tests/run.sh" bin obj "" >"$WORK/said" 2>&1
check "nothing passed: exit" test $? = 1
said "all skipped" '^skip  tests/unit/test_all: '
said "all skipped: counts" '^0 passed, 0 failed, 1 skipped$'

program test_some 0 '[ RUN      ] a' '[  SKIPPED ] a' '[ RUN      ] b' '[       OK ] b' \
	'[  PASSED  ] 1 test(s).' '[  SKIPPED ] 1 test(s), listed below:' '[  SKIPPED ] a'
program test_none 0 '[ RUN      ] b' '[       OK ] b' '[  PASSED  ] 1 test(s).'
printf 'echo "[  SKIPPED ] a"\n' >"$HOUSE/tests/e2e/10-words.sh"
printf 'echo "no such tool"; exit 77\n' >"$HOUSE/tests/e2e/11-tool.sh"
bash "$HOUSE/tests/run.sh" bin obj "" >"$WORK/said" 2>&1
check "some passed: exit" test $? = 0
said "some skipped" '^ok    tests/unit/test_some \([0-9]+ s; 1 skipped\)$'
said "some skipped: which" '^ +not run: a$'
said "none skipped" '^ok    tests/unit/test_none \([0-9]+ s\)$'
said "a script's words" '^ok    tests/e2e/10-words.sh \([0-9]+ s\)$'
said "a script's 77" '^skip  tests/e2e/11-tool.sh: no such tool$'
said "some: counts" '^3 passed, 0 failed, 2 skipped$'

program test_bad 1 '[  SKIPPED ] a' '[  FAILED  ] b' '[  PASSED  ] 0 test(s).'
bash "$HOUSE/tests/run.sh" bin obj "" >"$WORK/said" 2>&1
check "a failure: exit" test $? = 1
said "a failure" '^FAIL  tests/unit/test_bad \(exit 1\)$'
said "a failure: counts" '^3 passed, 1 failed, 2 skipped$'
finish
