#!/bin/bash
# Time and memory of .1, 1, 10 and 30 million documents of 512 x 2 bits: import, a query,
# restart, RssAnon, page cache, disk.  Writes lines of docs/performance.tsv.
# usage: bench/growth.sh      exit 3: MINUTES were over; run it again to go on
#   SIZES="100000 1000000 10000000 30000000"    FOLDER=build/growth (8 GB, may be removed)
#   MINUTES=25   TURNS=3   SECONDS_EACH=10
set -eu
cd "$(dirname "$0")/.."
bench/peers/install.sh
build/peers/bin/python bench/performance/growth.py
