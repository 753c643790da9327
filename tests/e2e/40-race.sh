#!/bin/bash
# Claim: searches, reads and documents that come again, while a collection's binarizer
# changes and the collection is dropped and made again, get answers that the contract
# lists, whole and in order; the server survives and stops cleanly.
. "$(dirname "$0")/common.sh"
start --threads 2
check "race" python3 "$(dirname "$0")/race.py" "$PORT" "$ROOT/docs/openapi.yaml" \
	"${SECONDS_MAX:-8}" "${SEED:-$RANDOM}" "$([ -n "${SAN:-}" ] && echo 300 || echo 1500)"
expect "still there" 200 "" GET /readyz
check "no server error" test -z "$(grep ' error ' "$LOG")"
stop
start
expect "and after a start" 200 "" GET /collections/large
stop
finish
