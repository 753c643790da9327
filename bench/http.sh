#!/bin/bash
# /v1/embeddings over HTTP: our server against a small one of onnxruntime, one text of 16
# tokens a request, 1, 8 and 64 clients that keep their connections (wrk), in turns.
# usage: bench/http.sh SERVER FOLDER PYTHON
#   FOLDER   models as bench/peers/encoder_onnx.py leaves them: ternary, int8, int8.onnx
#   PYTHON   with uvicorn and onnxruntime; none: ours alone
# Prints how soon our server is ready with the models, too.
set -eu
server=$1 folder=$2 python=${3:-}
port=${PORT:-6397}
seconds=${SECONDS_EACH:-2}
threads=$(nproc)
pid=
trap '[ -z "$pid" ] || kill $pid 2>/dev/null; wait' EXIT

command -v wrk >/dev/null || { echo "wrk is not there: nothing over HTTP"; exit 0; }
cat >"$folder/post.lua" <<'END'
local texts = {}
for word in io.open(os.getenv("WORDS")):read("*a"):gmatch("%S+") do texts[#texts + 1] = word end
local n, start = 0, 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
	start = (start + 7) % 400 -- another text each time
	return wrk.format(nil, nil, nil, '{"model": "' .. os.getenv("MODEL") .. '", "input": "' ..
		table.concat(texts, " ", start + 1, start + 14) .. '"}')
end
done = function(summary, latency)
	io.write(string.format("%d %.6f %.3f %.3f %d\n", summary.requests, summary.duration / 1e6,
		latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
		summary.errors.status + summary.errors.read + summary.errors.timeout))
end
END

ready() { # URL
	until curl -sf -o /dev/null "$1"; do
		kill -0 $pid || { cat "$folder/log" >&2; exit 1; }
		sleep 0.002
	done
}
processor() { # clock ticks of the server
	awk '{ sub(/.*\) /, ""); print $12 + $13 }' /proc/$pid/stat
}
load() { # NAME MODEL
	for clients in 1 8 64; do
		MODEL=$2 WORDS=$folder/words wrk -t1 -c$clients -d1s -s "$folder/post.lua" \
			"http://127.0.0.1:$port/v1/embeddings" >/dev/null # warms up
		before=$(processor)
		figures=$(MODEL=$2 WORDS=$folder/words wrk -t1 -c$clients -d"${seconds}s" \
			-s "$folder/post.lua" "http://127.0.0.1:$port/v1/embeddings" | tail -n 1)
		ticks=$(($(processor) - before))
		echo "$figures" | awk -v name="$1" -v c=$clients -v t=$ticks -v hz="$(getconf CLK_TCK)" '{
			printf "| %-16s | %7d | %10.0f | %7.2f | %7.2f | %12.2f | %6d |\n",
				name, c, $1 / $2, $3, $4, 1000 * t / hz / $1, $5 }'
	done
}
stop() {
	kill $pid
	wait $pid || true
	pid=
}

start() {
	rm -rf "$folder/data"
	from=$(date +%s%N)
	"$server" --data "$folder/data" --models "$folder/models" --threads "$threads" \
		--listen 127.0.0.1:"$port" >"$folder/log" 2>&1 &
	pid=$!
	ready "http://127.0.0.1:$port/readyz"
	ms=$((($(date +%s%N) - from) / 1000000))
}

mkdir -p "$folder/models"
for form in ternary int8; do
	ln -sfn "$(realpath "$folder/$form")" "$folder/models/$form"
done
start
echo "server with a ternary and an int8 model: ready in $ms ms of wall, $(($(processor) * 1000 /
	$(getconf CLK_TCK))) ms CPU (bar 50)"
stop
echo "/v1/embeddings, 16 tokens a text, $threads threads, $seconds s each, load $(cut -d' ' -f1 /proc/loadavg)"
echo "| server           | clients | requests/s | p50 ms  | p99 ms  | CPU ms/req   | errors |"
start
load "ours, ternary" ternary
load "ours, int8" int8
stop
if [ -n "$python" ]; then
	"$python" bench/peers/onnx_server.py "$folder" int8 "$port" "$threads" >"$folder/log" 2>&1 &
	pid=$!
	ready "http://127.0.0.1:$port/"
	load "onnxruntime int8" minilm
	stop
fi
