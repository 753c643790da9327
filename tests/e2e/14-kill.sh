#!/bin/bash
# Claim: kill -9 under 8 writers over HTTP, 10 rounds of at least 1,000 acknowledged
# points each: every acknowledged point is there, whole, at the acknowledged version or
# at the one whose outcome is unknown; deleted ones stay deleted.
. "$(dirname "$0")/common.sh"
check "ten rounds" python3 "$(dirname "$0")/kill_rounds.py" "$SERVER" "$DATA" \
	"${ROUNDS:-10}" "${SEED:-$RANDOM}"
finish
