#!/bin/bash
# Claim: kill -9 under 8 writers over HTTP, 10 rounds (make test-long: 100) of at least
# 1,000 acknowledged points each: every acknowledged point is there, whole, at the
# acknowledged version or at the one whose outcome is unknown; deleted ones stay deleted.
. "$(dirname "$0")/common.sh"
check "rounds" python3 -B "$(dirname "$0")/kill_rounds.py" "$SERVER" "$DATA" \
	"$([ -n "${LONG:-}" ] && echo 100 || echo 10)" "${SEED:-$RANDOM}"
finish
