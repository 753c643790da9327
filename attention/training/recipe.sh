#!/bin/bash
# The whole recipe, from texts to a model folder and its table of dev figures; what is done
# already is not done again.
# usage: recipe.sh DATA WORK TEACHER NAME [SEED] [PART]
#   DATA      holds train/, dev/ and vocab/           WORK   for everything made
#   TEACHER   a BERT folder of Hugging Face           NAME   of the run, in WORK
#   PART      of the texts and of every phase's length: 1 (default), or .1 to try the recipe,
#             which is then measured on the smallest dev set alone
# TEACHER is uncased, with GELU and absolute positions, says how it pools (1_Pooling/config.json)
# and has 6 layers, as all-MiniLM-L6-v2; its vocab.txt is taken where it has one, else DATA's.
# In the environment:
#   STUDENT   a student file, for a teacher of other than 6 layers (students/mini.json)
#   CREDIT    'NAME (LICENCE)' of a teacher other than all-MiniLM-L6-v2: the model tells it
#   DEBS      unpacked Debian packages (wordnet-base, dict-foldoc, dict-jargon)
#   HALFTONE  the program (build/halftone)
#   PACKAGES  the packages' descriptions (build/demo/packages.jsonl)
# Needs `make`, `make demo ONCE=1` (the packages' descriptions) and the Python of requirements.txt
# as python3.
set -euo pipefail
data=$1 work=$2 teacher=$3 name=$4 seed=${5:-1} part=${6:-1}
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
program=${HALFTONE:-$root/build/halftone}
student=${STUDENT:-$here/students/mini.json}
run=$work/$name
vocab=$teacher/vocab.txt
[ -e "$vocab" ] || vocab=$data/vocab/vocab.txt

train() { # PHASE
	python3 "$here/train.py" "$1" --teacher "$teacher" --work "$work" --name "$name" \
		--model "$student" --seed "$seed" --share "$part"
}

finish() { # [--check]
	python3 "$here/finish.py" --teacher "$teacher" --work "$work" --name "$name" \
		--model "$student" --vocab "$vocab" --vectors "$run/teacher" --output "$run/model" \
		${CREDIT:+--credit "$CREDIT"} "$@"
}

# The teacher as halftone has it: seconds, and so made anew.
mkdir -p "$run"
rm -rf "$run/teacher" "$run/teacher.from"
mkdir "$run/teacher.from"
for file in "$teacher"/*; do
	ln -s "$(realpath "$file")" "$run/teacher.from/"
done
ln -sf "$(realpath "$vocab")" "$run/teacher.from/vocab.txt"
"$program" convert --from "$run/teacher.from" --layers float --output "$run/teacher"
rm -r "$run/teacher.from"

finish --check
python3 "$here/corpus.py" --data "$data" --work "$work" --vocab "$vocab" \
	--packages "${PACKAGES:-$root/build/demo/packages.jsonl}" ${DEBS:+--debs "$DEBS"}
for phase in calibrate ternary polish freeze; do
	train $phase
done
finish
python3 "$here/evaluate.py" --dev "$data/dev" --work "$work" --teacher "$run/teacher" \
	--model "$run/model" --program "$program" $([ "$part" = 1 ] || echo --sets med) |
	tee "$run/dev.json"
