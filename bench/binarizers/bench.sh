#!/bin/bash
# The bench of binarizers: texts, their vectors, every method on them, and the tables of
# docs/binarizer.md.  What is there is not made or measured again, so that it may be
# stopped at any time; build/binarizers holds it all.
# usage: bench/binarizers/bench.sh [rivals] [ours] [report]     (default: all three)
#   HALFTONE_DATA     folder with train/{wiki,arxiv}-pairs.jsonl.xz and
#                     dev/SET/{corpus.jsonl,queries.jsonl,qrels.tsv}
#   HALFTONE_MINILM   all-MiniLM-L6-v2, as halftone convert writes it
#   HALFTONE_VECTORS  folder with CORPUS/NN.txt and CORPUS/NN.MODEL.npy of an earlier run
#   SIZES             TRAIN,DOCUMENTS,QUERIES of a corpus
#   LARGE_SIZES       of the one that is measured whole; fewer where it has fewer
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
out=build/binarizers
program=build/halftone
earlier=${HALFTONE_VECTORS:+$(realpath "$HALFTONE_VECTORS")}
steps=" ${*:-rivals ours report} "
of_sizes() { # TRAIN,DOCUMENTS,QUERIES: what is measured from now on
	sizes=$1
	chunks=$(((${sizes//,/+} + 9999) / 10000))
	made=$out/trained/$(sha256sum $program | cut -c1-12)/$sizes
	mkdir -p "$made"
}
of_sizes "${SIZES:-20000,20000,500}"

python=${PYTHON:-$out/venv/bin/python}
if ! "$python" -c 'import faiss, numpy' 2>/dev/null; then
	python3 -m venv $out/venv
	$out/venv/bin/pip install -q --timeout 20 --retries 1 -r "$here/requirements.txt"
	python=$out/venv/bin/python
fi
py() { "$python" "$here/$1.py" "${@:2}"; }
model_of() { # name
	if [ "$1" = minilm ]; then echo "${HALFTONE_MINILM:-}"; else echo "models/$1"; fi
}
embed() { # model text npy
	[ ! -e "$3" ] || return 0
	$program embed --model "$(model_of "$1")" --output "$3.part.npy" "$2" 2>>$out/log
	mv "$3.part.npy" "$3"
}

keep() { # file command...: what it prints, once
	[ ! -e "$1" ] || return 0
	"${@:2}" >"$1.part"
	mv "$1.part" "$1"
}

texts() { # corpus: $out/CORPUS/NN.txt
	local pairs=${HALFTONE_DATA:-}/train/$1-pairs.jsonl.xz cached
	mkdir -p "$out/$1"
	for cached in "$earlier/$1"/[0-9]*; do
		[ ! -e "$cached" ] || ln -sf "$cached" "$out/$1/"
	done
	[ ! -e "$out/$1/00.txt" ] || return 0
	if [ "$1" = packages ]; then
		[ -e build/demo/packages.jsonl ] || demo/fetch.sh build/demo
		py texts packages build/demo/packages.jsonl "$out/$1"
	elif [ -e "$pairs" ]; then
		py texts pairs "$pairs" "$out/$1"
	else
		echo "$1: needs HALFTONE_DATA; skipped" >&2
		return 1
	fi
}
stand_in() {
	local last
	last=$(printf '%s/%02d.synthetic.npy' $out/stand-in $((chunks - 1)))
	[ -e "$last" ] || py standin write $out/stand-in $((10000 * chunks))
}
ready() { # corpus model: enough chunks of vectors
	local most=$chunks whole text
	[ "$1" != stand-in ] || { stand_in; return 0; }
	[ -n "$(model_of "$2")" ] || { echo "$2: needs HALFTONE_MINILM; skipped" >&2; return 1; }
	texts "${1%-half}" || return 1
	# a transformer takes minutes a chunk
	[ "$2" = static ] || [ "$1 $2" = "wiki minilm" ] || most=1
	mkdir -p "$out/$1"
	for whole in $(find $out/"${1%-half}" -name '[0-9]*.txt' | sort | sed "${most}q"); do
		text=$out/$1/$(basename "$whole")
		keep "$text" py texts half <"$whole"
		embed "$2" "$text" "${text%.txt}.$2.npy"
	done
}

# Train ours: a file for each method, number of bits and seed, and a processor's seconds.
TIMEFORMAT=%U
methods=refined all="refined recurrent hash" # by gradients: minutes a model
train() { # corpus model seeds bits
	local bits seed method file rows=$made/train-$1-$2.npy
	for seed in ${3//,/ }; do for bits in ${4//,/ }; do for method in $methods; do
		file=$made/$method-$1-$2-$bits-$seed.safetensors
		[ ! -e "$file" ] || continue
		[ -e "$rows" ] || py corpora $out/"$1" "$2" train --sizes "$sizes" --npy "$rows"
		{ time $program train --vectors "$rows" --output "$file.part" --bits "$bits" \
			--seed "$seed" --method "$method" \
			>>$out/log 2>&1; } 2>"$file.seconds"
		mv "$file.part" "$file"
	done; done; done
	rm -f "$rows"
}
bits=1,2,4 skip=PQ # and OPQ: the learning of it takes minutes
measure() { # model, corpus to learn from, seeds, options of run.py...
	local model=$1 corpus=$2 seeds=$3 method ours=(--ours untrained=untrained)
	shift 3
	for method in $methods; do
		ours+=(--ours "$method=$made/$method-{corpus}-{model}-{bits}-{seed}.safetensors")
	done
	ready "$corpus" "$model" || return 0
	local run=(run $out --program $program --model "$model" --train $out/"$corpus"
		--sizes "$sizes" --seeds "$seeds" --bits $bits --skip "$skip" "$@")
	[[ $steps != *" rivals "* ]] || py "${run[@]}"
	[[ $steps != *" ours "* ]] || {
		train "$corpus" "$model" "$seeds" $bits
		py "${run[@]}" "${ours[@]}" --methods "untrained,${methods// /,}"
	}
}
own() { # model corpus seeds
	measure "$1" "$2" "$3" --corpora $out/"$2"
}
other() { # model, corpora to search, corpus to learn from
	local folders="" corpus
	for corpus in ${2//,/ }; do
		ready "$corpus" "$1" || return 0
		folders=$folders,$out/$corpus
	done
	measure "$1" "$3" 1 --corpora "${folders#,}"
}
judged() { # model
	[ -n "${HALFTONE_DATA:-}" ] || { echo "dev: needs HALFTONE_DATA; skipped" >&2; return 0; }
	measure "$1" wiki 1 --dev "$HALFTONE_DATA/dev" --encoder "$(model_of "$1")"
}
spoilt() { # model corpus how: queries with slips, or cut
	ready "$2" "$1" || return 0
	local asked=$out/spoilt/$2-$1-$sizes-$3
	mkdir -p $out/spoilt
	keep "$asked.own.txt" py corpora $out/"$2" "$1" queries --sizes "$sizes" --text
	keep "$asked.txt" py texts "$3" <"$asked.own.txt"
	embed "$1" "$asked.txt" "$asked.$1.npy"
	measure "$1" "$2" 1 --corpora $out/"$2" --queries "$asked.$1.npy" --queries-as "$3"
}

if [[ $steps = *" rivals "* || $steps = *" ours "* ]]; then
	skip=none methods=$all own static wiki 1
	skip=OPQ methods=$all judged static
	skip=OPQ methods=$all own static packages 1
	skip=OPQ methods=$all own minilm wiki 1
	judged minilm
	skip=OPQ own static arxiv 1
	methods=$all other static packages,arxiv wiki
	spoilt static wiki typos
	spoilt static wiki half
	other static wiki-half wiki
	bits=3 own static wiki 1
	own static wiki 1,2,3
	own static packages 1,2,3
	own synthetic stand-in 1
	own minilm packages 1
	judged halftone-mini
	# all of Wikipedia: what matters more the more documents lie close together
	skip=sign,ITQ,scalar,Turbo,OSQ,PQ
	of_sizes "${LARGE_SIZES:-47000,200000,500}"
	own static wiki 1
	of_sizes "${LARGE_SIZES:-38000,161500,500}" # a transformer reads 200,000 in an hour
	own minilm wiki 1
fi
if [[ $steps = *" report "* ]]; then
	py report $out
	py page $out docs
fi
