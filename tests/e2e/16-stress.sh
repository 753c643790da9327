#!/bin/bash
# Claim: collections that are made, filled, searched, read and dropped by many clients
# at once give only expected answers; a query never sees another collection's points
# nor half a batch of equal points; the server survives and stops cleanly.
. "$(dirname "$0")/common.sh"
start --threads 4
check "stress" python3 "$(dirname "$0")/stress.py" "$PORT" "${SECONDS_MAX:-8}" "${SEED:-$RANDOM}"
expect "still there" 200 "" GET /readyz
check "no server error" test -z "$(grep ' error ' "$LOG")"
stop
finish
