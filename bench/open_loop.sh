#!/bin/bash
# The 99th percentile at 70 % of the peak beside the median of an idle server, at a rate
# that does not wait for answers (vegeta).  Writes lines of docs/performance.tsv.
# usage: bench/open_loop.sh      on the store that headline.sh has made in FOLDER
#   TURNS=3  SECONDS_EACH=20     3 turns take 6 minutes for each instruction set
set -eu
cd "$(dirname "$0")/.."
bench/peers/install.sh
FOLDER=${FOLDER:-build/headline}
[ -e "$FOLDER/bodies" ] || bench/headline.sh vectors import
build/peers/bin/python bench/performance/open_loop.py
