#!/bin/bash
# Claim: kill -9 while indexes are made, filled, changed and dropped and payloads change,
# 8 rounds (make test-long: 50): every acknowledged change is there, and filters find, with
# indexes that are being filled and with whole ones, what the payloads say.
. "$(dirname "$0")/common.sh"
check "rounds" python3 -B "$(dirname "$0")/payload_kill.py" "$SERVER" "$DATA" \
	"$([ -n "${LONG:-}" ] && echo 50 || echo 8)" "${SEED:-$RANDOM}"
finish
