#!/bin/bash
# How well it finds: nDCG@10 of every test collection under FOLDER, with the text
# model's floats (in process) and with codes of 4, 2 and 1 bits (through a server of its
# own).  Writes docs/eval.tsv; bench/plot.py makes the README's table and picture of it.
# usage: bench/quality.sh FOLDER [MODEL]
#   FOLDER/NAME/{corpus.jsonl,queries.jsonl,qrels.tsv}; MODEL is a name in models/
set -eu
cd "$(dirname "$0")/.."
data=$(cd "${1:?expected the folder of the test collections}" && pwd)
model=${2:-static}
work=$(mktemp -d)
port=${PORT:-6399}
server=
trap '[ -z "$server" ] || kill $server; wait; rm -rf "$work"' EXIT

build/halftone-server --data "$work/data" --models models --listen 127.0.0.1:"$port" \
	2>"$work/log" &
server=$!
for ((tries = 0; tries < 100; tries++)); do
	curl -sf -o /dev/null "http://127.0.0.1:$port/readyz" && break
	kill -0 $server || { cat "$work/log" >&2; exit 1; }
	sleep 0.1
done

ndcg() { # set options...
	local folder=$data/$1
	shift
	build/halftone eval --corpus "$folder/corpus.jsonl" --queries "$folder/queries.jsonl" \
		--qrels "$folder/qrels.tsv" --json "$@" 2>>"$work/log" |
		sed -n 's/.*"ndcg@10": \([0-9.]*\).*/\1/p'
}
printf 'set\tfloat\t4 bits\t2 bits\t1 bit\n' >"$work/eval.tsv"
for folder in "$data"/*/; do
	set=$(basename "$folder")
	[ -e "$folder/qrels.tsv" ] || continue
	row=$set$'\t'$(ndcg "$set" --model "models/$model" --bits 0)
	for bits in 4 2 1; do
		row=$row$'\t'$(ndcg "$set" --url "http://127.0.0.1:$port" \
			--text-model "$model" --bits $bits)
	done
	echo "$row" | tee -a "$work/eval.tsv"
done
mv "$work/eval.tsv" docs/eval.tsv
