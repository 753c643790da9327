#!/bin/bash
# Learn the binarizers of a text model for 1 to 4 bits from public texts, none of them a
# document of a judged set: models/MODEL/binarizer.B.safetensors.
# usage: tools/binarizers.sh FOLDER MODEL WIKI ARXIV PACKAGES
#   FOLDER  with train/{wiki,arxiv}-pairs.jsonl.xz and dev/SET/corpus.jsonl
#   MODEL   a name in models/
#   WIKI, ARXIV, PACKAGES   texts of each to learn from; package descriptions are
#           build/demo/packages.jsonl, fetched if they are not there
# BITS="1 2" learns these alone, BITS= none.  What is there of texts and vectors in
# build/learned/MODEL is not made again.  One thread, so that the result is the same.
set -euo pipefail
[ $# = 0 ] || data=$(realpath "$1")
cd "$(dirname "$0")/.."
[ $# = 5 ] || { sed -n '/^# usage/,/^set/s/^# //p' "$0" >&2; exit 2; }
model=$2
out=build/learned/$model
export OMP_NUM_THREADS=1 PYTHONHASHSEED=0
mkdir -p "$out"

texts() { # corpus n: the first n of it, shuffled
	local from=$data/train/$1-pairs.jsonl.xz kind=pairs
	if [ "$1" = packages ]; then
		from=build/demo/packages.jsonl kind=packages
		[ -e $from ] || demo/fetch.sh build/demo
	fi
	[ -e "$out/$1/00.txt" ] || python3 bench/binarizers/texts.py $kind "$from" "$out/$1"
	tools/unseen.py "$data/dev" "$2" "$out/$1"/*.txt
}
if [ ! -e "$out/vectors.npy" ]; then
	texts wiki "$3" >"$out/texts.txt"
	texts arxiv "$4" >>"$out/texts.txt"
	texts packages "$5" >>"$out/texts.txt"
	build/halftone embed --model "models/$model" --output "$out/part.npy" "$out/texts.txt"
	mv "$out/part.npy" "$out/vectors.npy"
fi
for bits in ${BITS-1 2 3 4}; do
	build/halftone train --vectors "$out/vectors.npy" --bits "$bits" --rows 50000 \
		--centres 256 --output "$out/binarizer.$bits.safetensors"
	mv "$out/binarizer.$bits.safetensors" "models/$model"
done
sha256sum "models/$model"/binarizer.*.safetensors
