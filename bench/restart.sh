#!/bin/bash
# How soon the server is ready on the data directory of bench_storage, and what memory it
# then takes: as a share of the codes (128 bytes) and ids (8 bytes) of its points.
# usage: bench/restart.sh SERVER DIR POINTS
set -eu
server=$1 dir=$2 points=$3
port=${PORT:-6398}
pid=
trap '[ -z "$pid" ] || kill $pid; wait' EXIT

start=$(date +%s%N)
"$server" --data "$dir" --listen 127.0.0.1:"$port" 2>"$dir/log" &
pid=$!
until curl -sf -o /dev/null "http://127.0.0.1:$port/readyz"; do
	kill -0 $pid || { cat "$dir/log" >&2; exit 1; }
	sleep 0.01
done
ready=$((($(date +%s%N) - start) / 1000000))
anon=$(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' /proc/$pid/status)
awk -v n="$points" -v ms=$ready -v kib="$anon" 'BEGIN {
	printf "server, %d points of 512 x 2 bits: ready in %.2f s (limit 2); ", n, ms / 1000
	printf "RssAnon %.1f MB, %.2f of codes and ids (limit 1.3)\n",
		kib * 1024 / 1e6, kib * 1024 / (n * 136) }'
