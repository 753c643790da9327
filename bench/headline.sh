#!/bin/bash
# The same float vectors in Halftone, Redis 8 (vector set of signs) and pgvector (HNSW over
# signs): queries a second of the server's processor time, latency, recall and memory, over
# the network, at 1, 32 and 128 clients.  Writes lines of docs/performance.tsv.
# usage: bench/headline.sh [STEP ...]    (all: vectors import recall load)
# Steps keep what they have done in FOLDER and may be run one at a time, and again:
#   VECTORS="F.npy .."  NAME="what they are of"    the last 1,000 rows are the queries;
#                   else vectors are made
#   ROWS=1000000    DIMS=512 of made ones    FOLDER=build/headline
#   MINUTES=25      the most that one import into Redis takes; exit 3: run it again
#   TURNS=3         SECONDS_EACH=10    3 turns of all take 10 minutes
#   REDIS_EF_BUILD=200
# All servers run at once on one machine, with the client; only one of them is asked.
set -eu
cd "$(dirname "$0")/.."
python=build/peers/bin/python
bench/peers/install.sh
"${CC:-gcc}" -std=c11 -D_GNU_SOURCE -I. -O2 -o build/peers/redis_load bench/peers/redis_load.c
for step in ${*:-vectors import recall load}; do
	files=()
	[ "$step" != vectors ] || read -ra files <<<"${VECTORS:-}"
	"$python" bench/performance/headline.py "$step" "${files[@]}"
done
