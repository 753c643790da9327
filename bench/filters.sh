#!/bin/bash
# Searches with filters that leave 50, 10, 1 and .1 % of a million points, beside the same
# ones unfiltered, over the network.  Writes lines of docs/performance.tsv.
# usage: bench/filters.sh      exit 3: MINUTES were over; run it again to go on
#   ROWS=1000000   FOLDER=build/filters   MINUTES=25
#   TURNS=3  SECONDS_EACH=10     3 turns take 8 minutes for each instruction set
set -eu
cd "$(dirname "$0")/.."
bench/peers/install.sh
build/peers/bin/python bench/performance/filters.py
