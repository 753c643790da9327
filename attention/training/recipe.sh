#!/bin/bash
# The whole recipe, from texts to a model folder and its table of dev figures; what is done
# already is not done again.
# usage: recipe.sh DATA WORK TEACHER NAME [SEED] [PART]
#   DATA      holds train/, dev/ and vocab/           WORK   for everything made
#   TEACHER   a BERT folder of Hugging Face           NAME   of the run, in WORK
#   PART      of the texts and of every phase's length: 1 (default), or .1 to try the recipe,
#             which is then measured on the smallest dev set alone
# Needs `make`, `make demo ONCE=1` (the packages' descriptions) and the Python of requirements.txt
# as python3; DEBS=DIR names unpacked Debian packages (wordnet-base, dict-foldoc, dict-jargon).
set -euo pipefail
data=$1 work=$2 teacher=$3 name=$4 seed=${5:-1} part=${6:-1}
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
program=$root/build/halftone

train() { # PHASE
	python3 "$here/train.py" "$1" --teacher "$teacher" --work "$work" --name "$name" \
		--seed "$seed" --share "$part"
}

mkdir -p "$work"
[ -e "$work/texts.npz" ] || python3 "$here/corpus.py" --data "$data" --work "$work" \
	--packages "$root/build/demo/packages.jsonl" ${DEBS:+--debs "$DEBS"}
[ -e "$work/teacher/config.json" ] || "$program" convert --from "$teacher" --layers float \
	--output "$work/teacher"
[ -e "$work/$name/calibrate.pt" ] || train calibrate
train ternary
train polish
train freeze
python3 "$here/finish.py" --teacher "$teacher" --work "$work" --name "$name" \
	--vocab "$data/vocab/vocab.txt" --vectors "$work/teacher" --output "$work/$name/model"
python3 "$here/evaluate.py" --dev "$data/dev" --work "$work" --teacher "$work/teacher" \
	--model "$work/$name/model" --program "$program" $([ "$part" = 1 ] || echo --sets med) |
	tee "$work/$name/dev.json"
