#!/bin/bash
# Graphs of faiss, usearch and hnswlib in process, beside our exact search over the network:
# recall, build, memory, queries a second of processor time.  Writes lines of
# docs/performance.tsv.
# usage: bench/graphs.sh
#   ROWS=200000   VECTORS, NAME, DIMS: as in headline.sh   FOLDER=build/graphs
#   TURNS=3  SECONDS_EACH=10     the builds take 10 minutes of processor time
set -eu
cd "$(dirname "$0")/.."
bench/peers/install.sh
export ROWS=${ROWS:-200000}
build/peers/bin/python bench/performance/graphs.py
