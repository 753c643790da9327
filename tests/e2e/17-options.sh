#!/bin/bash
# Claim: wrong options end the start with exit 2 (usage) or 1 and a message that names
# them; a data directory in use, a taken port, an unknown SIMD name are refused; the key
# guards everything but health; --healthcheck tells ready from not.
. "$(dirname "$0")/common.sh"

refused() { # NAME STATUS WORD command...
	local name=$1 status=$2 word=$3 out rc
	shift 3
	checks=$((checks + 1))
	out=$(timeout 20 "$@" 2>&1)
	rc=$?
	[ "$rc" = "$status" ] || fail "$name: expected exit $status, not $rc: $out"
	grep -qF -- "$word" <<<"$out" || fail "$name: expected '$word' in: $out"
}
refused "no data" 2 "--data" "$SERVER"
refused "unknown flag" 2 "--nonsense" "$SERVER" --data "$DATA" --nonsense
refused "bad number" 2 "threads" "$SERVER" --data "$DATA" --threads many
refused "bad address" 2 "ADDRESS:PORT" "$SERVER" --data "$DATA" --listen localhost
refused "unknown key in a file" 2 "colour" "$SERVER" --data "$DATA" --config <(echo 'colour = red')
refused "bad variable" 2 "max_limit" env HALFTONE_MAX_LIMIT=x "$SERVER" --data "$DATA"
refused "the world without a key" 2 "api_key_file" "$SERVER" --data "$DATA" --listen 0.0.0.0:0
refused "unknown SIMD" 2 "SIMD" env SIMD=mmx "$SERVER" --data "$DATA"
refused "no key file" 1 "api_key_file" "$SERVER" --data "$DATA" --api-key-file /nowhere
: >"$WORK/empty"
refused "empty key file" 2 "api_key_file" "$SERVER" --data "$DATA" --api-key-file "$WORK/empty"
refused "no such models" 1 "/nowhere" "$SERVER" --data "$DATA" --models /nowhere --listen 127.0.0.1:0
refused "data is a file" 1 "$WORK/empty" "$SERVER" --data "$WORK/empty" --listen 127.0.0.1:0
check "nothing was made" test ! -e "$DATA"
refused "help" 0 "--max-body-bytes" "$SERVER" --help
refused "version" 0 "halftone-server " "$SERVER" --version
refused "print" 0 "max_limit = 5" env HALFTONE_MAX_LIMIT=5 "$SERVER" --print-config

echo "  sesame  " >"$WORK/key"
start --api-key-file "$WORK/key"
refused "data in use" 1 "$DATA" "$SERVER" --data "$DATA" --listen 127.0.0.1:0
refused "port taken" 1 "$PORT" "$SERVER" --data "$WORK/other" --listen "127.0.0.1:$PORT"
check "nothing was made where the port is taken" test ! -e "$WORK/other"
refused "healthcheck" 0 "" "$SERVER" --healthcheck --listen "127.0.0.1:$PORT"
refused "healthcheck, any address" 0 "" env HALFTONE_LISTEN="0.0.0.0:$PORT" "$SERVER" --healthcheck
expect "health is open" 200 "" GET /readyz
expect "the page is open" 200 "" GET /ui
expect "no key" 401 "API key" GET /collections
expect "no key" 401 "API key" GET /metrics
expect "no key, OpenAI" 401 '"code":"invalid_api_key"' GET /v1/models
code() { curl -s -o /dev/null -w '%{http_code}' "$@"; }
check "wrong key" test "$(code -H 'api-key: sesam' "$URL/collections")" = 401
check "key" test "$(code -H 'api-key: sesame' "$URL/collections")" = 200
check "bearer" test "$(code -H 'Authorization: Bearer sesame' "$URL/v1/models")" = 200
check "the log does not have the key" test -z "$(grep sesame "$LOG")"
check "threads wait asleep" grep -qz '^OMP_WAIT_POLICY=passive$' "/proc/$PID/environ"
check "under the program's name" grep -qx halftone-server "/proc/$PID/comm"
port=$PORT
stop
OMP_WAIT_POLICY=active start
check "or as they are told" grep -qz '^OMP_WAIT_POLICY=active$' "/proc/$PID/environ"
stop
start --config <(echo 'max_limit = 77')
expect "create" 200 "" PUT /collections/once '{"vectors":{"size":64,"distance":"Dot"}}'
expect "a file that can be read once" 400 '77' POST /collections/once/points/query '{"query":1,"limit":78}'
expect "drop" 200 "" DELETE /collections/once
expect "create" 200 "" PUT /collections/texts '{"text_model":"static"}'
stop
mkdir "$WORK/none"
start --models "$WORK/none"
check "a lost model is told" grep -q ' warn no_model collection="texts" text_model="static" ' "$LOG"
stop
mkdir "$WORK/none/half"
: >"$WORK/none/half/model.safetensors"
refused "half a model" 1 "config.json" "$SERVER" --data "$DATA" --models "$WORK/none" --listen 127.0.0.1:0
start --max-queued-writes 1 --max-queued-searches 64
expect "create" 200 "" PUT /collections/c '{"vectors":{"size":4,"distance":"Dot"}}'
cat >"$WORK/burst.py" <<'PY'
import http.client, sys, threading, time
port, limit, method, path, body = sys.argv[1:]
end, busy = time.time() + 10, []
def client():
    c = http.client.HTTPConnection("127.0.0.1", int(port))
    while time.time() < end and not busy:
        c.request(method, "/collections/c/points" + path, body)
        r = c.getresponse()
        text = r.read()
        if r.status != 200:
            busy.append((r.status, text, r.getheader("retry-after")))
threads = [threading.Thread(target=client) for _ in range(16)]
for t in threads: t.start()
for t in threads: t.join()
sys.exit(not (busy and all(s == 429 and limit.encode() in t and later for s, t, later in busy)))
PY
check "a full queue of writes names its limit" python3 "$WORK/burst.py" "$PORT" \
	max_queued_writes PUT "" '{"points":[{"id":1,"vector":[1,2,3,4]}]}'
search='{"query":[1,2,3,4],"limit":1}'
check "a full queue of searches names its limit" python3 "$WORK/burst.py" "$PORT" \
	max_queued_searches POST /query/batch \
	"{\"searches\":[$search$(printf ",$search%.0s" $(seq 63))]}"
expect "what was refused is counted" 200 "halftone_queries_refused_total" GET /metrics
check "more than none" grep -q '^halftone_queries_refused_total [1-9]' <<<"$ANSWER"
port=$PORT
stop
refused "healthcheck of nothing" 1 "127.0.0.1:$port" "$SERVER" --healthcheck --listen "127.0.0.1:$port"
finish
