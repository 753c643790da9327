#!/bin/bash
# Claim: on SIGTERM the server takes no new connection, answers what is in flight, says
# so to health checks, has everything acknowledged on the disk, and exits 0; also with
# clients that hold connections open and say nothing; also twice in a row.
. "$(dirname "$0")/common.sh"
start --stop-timeout-s 5
expect "create" 200 "" PUT /collections/c '{"vectors":{"size":8,"distance":"Dot"}}'
said=0
for _ in 1 2 3 4 5; do # until the health check was in time to be told
	check "writers see whole answers or closed connections" \
		python3 "$(dirname "$0")/stop_probe.py" "$PORT" "$PID" "$WORK/seen"
	wait "$PID"
	check "exits 0" test $? -eq 0
	PID=""
	check "says it is clean" grep -q 'stopped clean=yes' "$LOG"
	read -r acked said <"$WORK/seen"
	check "some were acknowledged" test "$acked" -gt 0
	start
	expect "count" 200 "" POST /collections/c/points/count
	check "all acknowledged are there" test "$(jq .result.count <<<"$ANSWER")" -ge "$acked"
	[ "$said" -eq 0 ] || break
done
check "health checks are told" test "$said" -eq 1

# Idle connections do not hold a stop up.
exec 5<>"/dev/tcp/127.0.0.1/$PORT"
begin=$(date +%s)
kill -INT "$PID"
wait "$PID"
check "SIGINT exits 0" test $? -eq 0
check "at once" test $(($(date +%s) - begin)) -le 2
PID=""
exec 5>&-

# A request that never comes whole is given up after the limit, not waited for.
start --stop-timeout-s 2
exec 5<>"/dev/tcp/127.0.0.1/$PORT"
printf 'PUT /collections/c/points HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{' >&5
sleep 0.3
begin=$(date +%s)
check "stop with half a request" stop
check "soon" test $(($(date +%s) - begin)) -le 4
exec 5>&-
finish
