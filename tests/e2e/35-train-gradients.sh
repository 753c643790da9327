#!/bin/bash
# Claim: halftone train by gradients finds more neighbours than the untrained control, alone
# and as a population; a training that kill -9, Ctrl-C or a full disk broke off goes on from
# its checkpoint and ends with the bytes of an unbroken one; a checkpoint of something else,
# and pairs that are none, are refused in words; vectors that must disappoint are named.
. "$(dirname "$0")/common.sh"
HALFTONE=$BIN/halftone
export OMP_NUM_THREADS=1

# Vectors whose directions vary unequally; some that an encoder has spoilt.
python3 - "$WORK" <<'EOF'
import random, struct, sys
random.seed(5)
def fvecs(name, rows):
    with open(f"{sys.argv[1]}/{name}.fvecs", "wb") as f:
        for row in rows:
            f.write(struct.pack(f"<i{len(row)}f", len(row), *row))
def skewed(n, d=64, cone=0.0):
    return [[random.gauss(0, (1 + j) ** -0.75) + cone for j in range(d)] for _ in range(n)]
rows = skewed(4000)
fvecs("v", rows)
fvecs("other", rows[:-1] + rows[:1])
fvecs("queries", [[x + random.gauss(0, 0.05) for x in row] for row in rows[:300]])
fvecs("three", rows[:3])
fvecs("short", [row[:32] for row in rows[:3]])
fvecs("cone", [[x + 1 for x in row] for row in rows[:1500]])
fvecs("copies", rows[:700] * 3)
fvecs("collapsed", [[x if j < 2 else 1e-2 * x for j, x in enumerate(r)] for r in rows[:1500]])
EOF
V=$WORK/v.fvecs

train() { # ARGUMENT...: sets $RC, $ANSWER (stdout)
	ANSWER=$("$HALFTONE" train "$@" 2>"$WORK/err")
	RC=$?
}
said() { # NAME WORDS
	check "$1: expected '$2' in: $(head -n 4 "$WORK/err")" grep -qF -- "$2" "$WORK/err"
}
refused() { # NAME EXIT WORDS ARGUMENT...
	local name=$1 rc=$2 words=$3
	shift 3
	train "$@" --output "$WORK/refused"
	check "$name: exit $RC" test $RC = "$rc"
	said "$name" "$words"
	check "$name: nothing is written" test ! -e "$WORK/refused" -a ! -e "$WORK/refused.checkpoint"
}
gains() { # NAME LEAST: by $ANSWER
	read -r _ trained _ untrained <<<"${ANSWER//,/ }"
	check "$1: $ANSWER" awk "BEGIN { exit !($trained > $untrained + $2 && $untrained > 0) }"
}

RECURRENT="--vectors $V --method recurrent --bits 2 --checkpoint 0"
train $RECURRENT --steps 300 --output "$WORK/whole"
if grep -q 'libopenblas0' "$WORK/err"; then
	echo "skipped: OpenBLAS is not installed"
	exit 77
fi
check "recurrent: exit $RC" test $RC = 0
gains "recurrent" 0.02 # measured: .046 to .063
check "no warning" sh -c '! grep -q "^warning: these codes" "$0"' "$WORK/err"
said "recurrent" "signs: estimating error"
train $RECURRENT --steps 20 --rate 1 --output "$WORK/bad"
check "worse than untrained: exit $RC" test $RC = 0
said "worse than untrained" "warning: these codes find fewer"
check "recurrent: no checkpoint stays" test ! -e "$WORK/whole.checkpoint"
"$HALFTONE" eval --corpus "$V" --queries "$WORK/queries.fvecs" --bits 2 --json \
	--binarizer "$WORK/whole" >"$WORK/out" 2>"$WORK/err"
check "recurrent: codes for others: $(cat "$WORK/err")" grep -q '"documents": 4000' "$WORK/out"
train --vectors "$V" --method hash --bits 2 --steps 20 --output "$WORK/hash"
check "hash: exit $RC" test $RC = 0
said "hash: its bits are dimensions" "128 x 1 bits"

# Break a training off with a signal once it has a checkpoint.
broken_off() { # SIGNAL OUTPUT ARGUMENT...
	local signal=$1 output=$2 job
	shift 2
	# On a busy machine training may end before the signal comes: then once more.
	for _ in $(seq 20); do
		rm -f "$output"
		# Not as a shell starts what runs beside it, without Ctrl-C.
		env --default-signal=INT "$HALFTONE" train "$@" --output "$output" \
			>"$WORK/out" 2>"$WORK/err" &
		job=$!
		for _ in $(seq 3000); do
			[ -e "$output.checkpoint" ] && break
			kill -0 $job 2>/dev/null || break
			sleep 0.01
		done
		kill -"$signal" $job 2>/dev/null
		wait $job 2>/dev/null
		RC=$?
		[ ! -e "$output.checkpoint" ] || break
	done
}
goes_on() { # NAME WHOLE OUTPUT ARGUMENT...
	local name=$1 whole=$2 output=$3
	shift 3
	train "$@" --output "$output"
	check "$name: exit $RC" test $RC = 0
	said "$name" "going on from $output.checkpoint, at"
	check "$name: the same bytes" cmp "$whole" "$output"
	check "$name: nothing else stays" test -z "$(ls -d "$output".* 2>/dev/null)"
}

broken_off KILL "$WORK/killed" $RECURRENT --steps 300
check "killed: nothing is written" test ! -e "$WORK/killed"
# As if it had been killed while it wrote.
echo half >"$WORK/killed.halftone.tmp"
echo half >"$WORK/killed.checkpoint.halftone.tmp"
refused_checkpoint() { # NAME WORDS ARGUMENT...
	local name=$1 words=$2
	shift 2
	cp "$WORK/killed.checkpoint" "$WORK/before"
	train "$@" --output "$WORK/killed"
	check "$name: exit $RC" test $RC = 1
	said "$name" "$words"
	check "$name: before anything is made of the vectors: $(cat "$WORK/err")" \
		test -z "$(grep 'held out\|effective rank' "$WORK/err")"
	check "$name: left as it was" cmp "$WORK/before" "$WORK/killed.checkpoint"
}
refused_checkpoint "other settings" "expected the settings of this training" \
	$RECURRENT --steps 300 --seed 2
refused_checkpoint "other method" "expected the settings of this training" --vectors "$V"
refused_checkpoint "other vectors" "expected a checkpoint of these vectors" \
	${RECURRENT/v.fvecs/other.fvecs} --steps 300
head -c 5000 "$WORK/killed.checkpoint" >"$WORK/cut.checkpoint"
train $RECURRENT --steps 300 --output "$WORK/cut"
check "a checkpoint cut short: exit $RC" test $RC = 1
said "a checkpoint cut short" "$WORK/cut.checkpoint"
said "a checkpoint cut short: what to do" "delete it to begin anew"
goes_on "killed" "$WORK/whole" "$WORK/killed" $RECURRENT --steps 300

# A disk that is full for a checkpoint, but not for the model.
broken_off KILL "$WORK/full" $RECURRENT --steps 300
cp "$WORK/full.checkpoint" "$WORK/before"
(
	trap '' XFSZ
	ulimit -f 200
	"$HALFTONE" train $RECURRENT --steps 300 --output "$WORK/full" >"$WORK/out" 2>"$WORK/err" &
	job=$!
	for _ in $(seq 3000); do
		grep -q 'no checkpoint' "$WORK/err" && break
		sleep 0.01
	done
	kill -KILL $job
	wait $job 2>/dev/null
)
said "full" "warning: no checkpoint: $WORK/full.checkpoint"
check "full: the old one is whole" cmp "$WORK/before" "$WORK/full.checkpoint"
goes_on "full" "$WORK/whole" "$WORK/full" $RECURRENT --steps 300

broken_off INT "$WORK/stopped" $RECURRENT --steps 300
check "Ctrl-C: exit $RC" test $RC = 0
said "Ctrl-C" "the same command goes on from $WORK/stopped.checkpoint"
check "Ctrl-C: the best so far is kept" test -s "$WORK/stopped"
goes_on "Ctrl-C" "$WORK/whole" "$WORK/stopped" $RECURRENT --steps 300

TWO="$RECURRENT --steps 100 --population 2"
train $TWO --output "$WORK/two"
check "population: exit $RC" test $RC = 0
said "population" "population: rate"
broken_off KILL "$WORK/two-killed" $TWO
goes_on "population" "$WORK/two" "$WORK/two-killed" $TWO

REFINED="--vectors $V --bits 4 --dims 256 --checkpoint 0"
train $REFINED --output "$WORK/refined"
broken_off KILL "$WORK/refined-killed" $REFINED
goes_on "refined" "$WORK/refined" "$WORK/refined-killed" $REFINED
broken_off INT "$WORK/refined-stopped" $REFINED
check "refined, Ctrl-C: exit $RC" test $RC = 0
check "refined, Ctrl-C: the best so far is kept" test -s "$WORK/refined-stopped"
goes_on "refined, Ctrl-C" "$WORK/refined" "$WORK/refined-stopped" $REFINED

PAIRED="--vectors $V --method recurrent --steps 20 --pairs $WORK/pairs"
pairs() { # LINES: with \t and \n
	printf "$1" >"$WORK/pairs"
}
pairs '0\t1\n2\t3\n4\n'
refused "no pair" 1 "pairs: line 3: expected two rows with a tab between, not \"4\"" $PAIRED
pairs '0\t1\n2 3\n'
refused "no tab" 1 "line 2: expected two rows with a tab" $PAIRED
pairs '0\t1\n2\t-3\n'
refused "no row" 1 "line 2: expected two rows with a tab" $PAIRED
pairs '0\t1\n2\t99999999999999999999999\n'
refused "no number" 1 "line 2: expected two rows with a tab" $PAIRED
pairs '0\t1\n2\t4000\n'
refused "no such row" 1 "line 2: expected a row below 4000, which $V has, not 4000" $PAIRED
pairs '0\t1\n2\t3\n0\t1\n0\t1\n'
refused "a pair twice" 1 "line 3: expected each pair once, not 0 and 1 again, as in line 1" $PAIRED
pairs '7\t7\n'
refused "a row with itself" 1 "line 1: expected two rows, not 7 twice" $PAIRED
pairs ''
refused "none" 1 "expected at least two pairs" $PAIRED
rm "$WORK/pairs"
refused "no file" 1 "$WORK/pairs: No such file" $PAIRED
seq 0 299 | awk '{ print $1 "\t" $1 }' >"$WORK/pairs"
refused "no such query" 1 "line 4: expected a row below 3, which $WORK/three.fvecs has, not 3" \
	$PAIRED --queries "$WORK/three.fvecs"
refused "other dims" 1 "short.fvecs: expected queries of 64 dimensions, as the vectors have, not 32" \
	$PAIRED --queries "$WORK/short.fvecs"
refused "refined by pairs" 2 "--method recurrent or hash with --pairs" --vectors "$V" --pairs "$WORK/pairs"
for option in "--steps 100" "--layers 2" "--hidden 128" "--estimator ste" "--rate .01" "--temperature .1" \
	"--reconstruction 1" "--ranking 1" "--codes 1" "--floats 1" "--population 2"; do
	refused "refined: $option" 2 "--method recurrent or hash with ${option% *}" --vectors "$V" $option
done
refused "hidden units of one layer" 2 "--layers of at least 2 with --hidden" $RECURRENT --hidden 128
refused "hidden units of the hash's one layer" 2 "--layers of at least 2 with --hidden" \
	--vectors "$V" --method hash --layers 1 --hidden 128
refused "hardly a step" 2 "--steps of at least 20, 10 for each model, not 19" $RECURRENT --steps 19 --population 2
refused "queries alone" 2 "--pairs with --queries" --vectors "$V" --queries "$V" --method hash
refused "no loss" 2 "a loss whose weight is not 0" $RECURRENT --ranking 0 --reconstruction 0
for option in vectors pairs queries old-vectors; do
	cp "$V" "$WORK/precious.fvecs"
	train --vectors "$V" --method hash --pairs "$WORK/pairs" --compatible-with untrained \
		--$option "$WORK/precious.fvecs" --output "$WORK/precious.fvecs"
	check "over --$option: exit $RC" test $RC = 2
	said "over --$option" "another file than $WORK/precious.fvecs"
	check "over --$option: kept" cmp "$V" "$WORK/precious.fvecs"
done
refused "no method" 2 "one of refined, recurrent, hash" --vectors "$V" --method best
refused "no rate" 2 "--rate to be a number 1e-07 to 1" $RECURRENT --rate fast
train $PAIRED --queries "$WORK/queries.fvecs" --output "$WORK/paired"
check "pairs: exit $RC" test $RC = 0
check "pairs: some are held out" grep -Eq '^2[0-9][0-9] pairs; [0-9]+ left out' "$WORK/err"

warned() { # WORDS VECTORS
	train --vectors "$WORK/$2.fvecs" --bits 1 --output "$WORK/$2"
	check "$2: exit $RC" test $RC = 0
	check "$2: $(cat "$WORK/err")" grep -q "^warning: .*$1" "$WORK/err"
}
warned "narrow cone" cone
warned "copies of others" copies
warned "collapsed" collapsed
said "short vectors" "warning: vectors of 64 dimensions"
finish
