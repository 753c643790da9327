# For scripts of this folder: a server of our own on a free port in a temporary folder.
#
#   start [flag...]        start (again) on $DATA; sets $URL, $PORT, $PID, $LOG
#   stop                   SIGTERM and wait; fails unless it exits 0
#   kill_server            kill -9 and wait
#   ask METHOD PATH [BODY] one request; sets $STATUS and $ANSWER
#   expect NAME STATUS WORD METHOD PATH [BODY]
#                          one request whose status and a word of the answer are known;
#                          an error must be JSON
#   check NAME COMMAND...  count a failure if the command fails
#   finish                 exit 0 if nothing failed and something was checked
set -u
: "${BIN:=build}"
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
case $BIN in /*) ;; *) BIN=$ROOT/$BIN ;; esac
SERVER=$BIN/halftone-server
WORK=$(mktemp -d)
DATA=$WORK/data
LOG=$WORK/log
PID="" checks=0 failures=0
MODELS=${MODELS:-$ROOT/models}

cleanup() {
	[ -z "$PID" ] || kill -9 "$PID" 2>/dev/null
	rm -rf "$WORK"
}
trap cleanup EXIT

start() {
	: >"$LOG"
	"$SERVER" --data "$DATA" --listen 127.0.0.1:0 --models "$MODELS" "$@" 2>"$LOG" &
	PID=$!
	for _ in $(seq 600); do
		if grep -q ' ready address=' "$LOG"; then
			PORT=$(sed -n 's/.* ready address=127.0.0.1:\([0-9]*\).*/\1/p' "$LOG")
			URL=http://127.0.0.1:$PORT
			return 0
		fi
		kill -0 "$PID" 2>/dev/null || break
		sleep 0.05
	done
	echo "the server did not start:" >&2
	cat "$LOG" >&2
	exit 1
}

stop() {
	kill -TERM "$PID"
	wait "$PID"
	local rc=$?
	PID=""
	if [ $rc -ne 0 ]; then
		echo "FAIL  the server exited $rc:" >&2
		tail -n 40 "$LOG" >&2
		failures=$((failures + 1))
	fi
	return $rc
}

kill_server() {
	kill -9 "$PID"
	wait "$PID" 2>/dev/null
	PID=""
}

ask() {
	local method=$1 path=$2 answer
	if [ $# -ge 3 ]; then
		answer=$(printf '%s' "$3" | curl -sS -m 60 -X "$method" -w '\n%{http_code}' \
			-H 'Content-Type: application/json' --data-binary @- "$URL$path")
	else
		answer=$(curl -sS -m 60 -X "$method" -w '\n%{http_code}' "$URL$path")
	fi
	STATUS=${answer##*$'\n'}
	ANSWER=${answer%$'\n'*}
}

fail() {
	failures=$((failures + 1))
	echo "FAIL  $*"
}

# The last answer is an error in JSON.  jq lets bytes pass that are no UTF-8.
is_error() {
	iconv -f UTF-8 -t UTF-8 <<<"$ANSWER" >/dev/null 2>&1 &&
		jq -e '.status.error // .error.message' <<<"$ANSWER" >/dev/null 2>&1
}

expect() {
	local name=$1 status=$2 word=$3
	shift 3
	checks=$((checks + 1))
	ask "$@"
	if [ "$STATUS" != "$status" ]; then
		fail "$name: expected $status, not $STATUS: $ANSWER"
	elif [ -n "$word" ] && ! grep -qF -- "$word" <<<"$ANSWER"; then
		fail "$name: expected '$word' in: $ANSWER"
	elif [ "$STATUS" -ge 400 ] && ! is_error; then
		fail "$name: expected an error in JSON, not: $ANSWER"
	fi
}

# equal NAME JQ-EXPRESSION EXPECTED: of the last answer
equal() {
	checks=$((checks + 1))
	local got
	got=$(jq -c "$2" <<<"$ANSWER" 2>&1)
	[ "$got" = "$3" ] || fail "$1: expected $3, not $got"
}

check() {
	local name=$1
	shift
	checks=$((checks + 1))
	"$@" || fail "$name"
}

finish() {
	echo "$checks checks, $failures failed"
	[ "$failures" -eq 0 ] && [ "$checks" -gt 0 ]
	exit $?
}
