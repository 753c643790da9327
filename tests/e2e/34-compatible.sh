#!/bin/bash
# Claim: halftone train --compatible-with makes a binarizer by whose queries the codes of
# an older one are searched: as well as by the older one where the encoder is the same,
# by the new encoder's neighbours where it is another, also along a chain of two; what
# it says it is worth is what halftone eval finds; a server takes the file like any
# other; and whatever does not go together is refused in words and leaves nothing behind.
. "$(dirname "$0")/common.sh"
HALFTONE=$(realpath "$BIN/halftone")
OURS=$WORK/models
mkdir -p "$OURS/new"
ln -s "$(realpath "$MODELS/static")" "$OURS/static"
MODELS=$OURS
OUT=$OURS/new/binarizer.safetensors

# 3,000 items by two encoders.
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(dirname "$0") python3 - "$WORK" <<'EOP'
import os, sys
from two_encoders import both, npy
os.chdir(sys.argv[1])
rows = [both() for i in range(3000)]
old, new = ([r[k] for r in rows] for k in (0, 1))
npy("old.npy", old), npy("new.npy", new)
npy("old-asks.npy", old[:300]), npy("new-asks.npy", new[:300])
npy("short.npy", old[:2999]), npy("few-old.npy", old[:900]), npy("few-new.npy", new[:900])
npy("zero.npy", old[:2999] + [[0.0] * 96])
npy("nan.npy", old[:2999] + [[float("nan")] * 96])
npy("other.npy", [both()[0] for i in range(3000)])
EOP

train() { # ARGUMENT...: sets $RC, $ANSWER (stdout)
	ANSWER=$(cd "$WORK" && "$HALFTONE" train --bits 1 "$@" 2>err)
	RC=$?
}
refused() { # NAME EXIT WORDS ARGUMENT...
	local name=$1 rc=$2 words=$3
	shift 3
	train "$@"
	check "$name: exit $RC" test $RC = "$rc"
	check "$name: $(head -n 1 "$WORK/err")" grep -qF -- "$words" "$WORK/err"
	check "$name: nothing is written" test -z "$(ls "$OURS/new")"
}
overlap() { # ARGUMENT...: sets $ANSWER to overlap@10
	ANSWER=$(cd "$WORK" && "$HALFTONE" eval --bits 2 --json "$@" 2>err | jq '."overlap@10"')
}
near() { # A B DISTANCE
	awk "BEGIN { d = $1 - $2; exit !(d < $3 && d > -$3) }"
}

# A file to be compatible with, learned, of 2 bits.
train --vectors old.npy --output old.safetensors --bits 2
if grep -q 'libopenblas0' "$WORK/err"; then
	echo "skipped: OpenBLAS is not installed"
	exit 77
fi

pair=(--vectors new.npy --output "$OUT")
refused "old vectors without a model" 2 "--compatible-with" "${pair[@]}" --old-vectors old.npy
refused "old bits without a model" 2 "--compatible-with" "${pair[@]}" --old-bits 2
refused "old dims" 2 "multiple of 64" "${pair[@]}" --compatible-with untrained --old-dims 65
refused "old bits" 2 "1 to 4" "${pair[@]}" --compatible-with untrained --old-bits 5
refused "no format" 2 ".npy" "${pair[@]}" --compatible-with old.safetensors --old-vectors old.safetensors
refused "no such model" 1 "none.safetensors" "${pair[@]}" --compatible-with none.safetensors --old-vectors old.npy
refused "no such vectors" 1 "none.npy" "${pair[@]}" --compatible-with old.safetensors --old-vectors none.npy
refused "bits of a rotation" 1 "--old-bits" "${pair[@]}" --compatible-with untrained --old-vectors old.npy
refused "another shape" 1 "128 dims and 2 bits" "${pair[@]}" --compatible-with old.safetensors --old-vectors old.npy --old-bits 3
refused "another encoder" 1 "--old-vectors" "${pair[@]}" --compatible-with old.safetensors
refused "not its vectors" 1 "96 dimensions" "${pair[@]}" --compatible-with old.safetensors --old-vectors new.npy
refused "other rows" 1 "short.npy: expected 3000 vectors" "${pair[@]}" --compatible-with old.safetensors --old-vectors short.npy
refused "a row of zeros" 1 "zero.npy: row 2999" "${pair[@]}" --compatible-with old.safetensors --old-vectors zero.npy
refused "not a number" 1 "nan.npy: row 2999" "${pair[@]}" --compatible-with old.safetensors --old-vectors nan.npy
refused "few" 1 "at least 1000" --vectors few-new.npy --output "$OUT" --compatible-with old.safetensors --old-vectors few-old.npy
head -c 5000 "$WORK/old.npy" >"$WORK/cut.npy"
refused "truncated vectors" 1 "cut.npy" "${pair[@]}" --compatible-with old.safetensors --old-vectors cut.npy
head -c 5000 "$WORK/old.safetensors" >"$WORK/cut.safetensors"
refused "a truncated model" 1 "cut.safetensors" "${pair[@]}" --compatible-with cut.safetensors --old-vectors old.npy
# One that knows as many older ones as a model can is refused before anything is learned.
python3 - "$WORK" <<'EOP'
import json, math, struct, sys
data = open(f"{sys.argv[1]}/old.safetensors", "rb").read()
n = struct.unpack_from("<Q", data)[0]
head, data = json.loads(data[8:8 + n]), data[8 + n:]
head["__metadata__"]["older"] = "16"
def add(name, *shape):
    global data
    size = 4 * math.prod(shape)
    head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + size]}
    data += bytes(size)
for i in range(16):
    head["__metadata__"] |= {f"older.{i}.id": f"{i:016x}", f"older.{i}.bits": "1"}
    add(f"older.{i}.mean", 96), add(f"older.{i}.query.weight", 64, 96)
text = json.dumps(head).encode()
text += b" " * (-(8 + len(text)) % 64)
open(f"{sys.argv[1]}/sixteen.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + data)
EOP
refused "too many older ones" 1 "at most 16 older binarizers" "${pair[@]}" --compatible-with sixteen.safetensors --old-vectors old.npy
check "too many older ones: nothing learned: $(cat "$WORK/err")" test -z "$(grep 'held out\|turn' "$WORK/err")"

# The same encoder: the neighbours that the old queries find.
overlap --corpus old.npy --queries old-asks.npy --binarizer old.safetensors
old=$ANSWER
train --vectors old.npy --output same.safetensors --seed 2 --compatible-with old.safetensors
check "same encoder: exit" test $RC = 0
check "same encoder: $ANSWER" grep -Eq '^codes of old.safetensors \([0-9a-f]{16}\): overlap@10 (0\.[0-9]{4}), asked by the old vectors \1$' <<<"$ANSWER"
overlap --corpus old.npy --queries old-asks.npy --binarizer old.safetensors --searched-by same.safetensors
check "same encoder: $ANSWER as $old" near "$ANSWER" "$old" 0.01

# Another encoder.
asked() { # OLD NEW-BINARIZER: sets $ANSWER
	overlap --corpus new.npy --old-corpus old.npy --queries new-asks.npy --binarizer "$1" --searched-by "$2"
}
train "${pair[@]}" --old-vectors old.npy --compatible-with old.safetensors
check "another encoder: exit" test $RC = 0
read -r now before < <(sed -nE 's/^codes of .* overlap@10 ([0-9.]+), .* ([0-9.]+)$/\1 \2/p' <<<"$ANSWER")
check "another encoder: $now against $before" awk "BEGIN { exit !($now > $before + 0.02) }"
check "another encoder: no warning" test -z "$(grep 'same items' "$WORK/err")"
asked old.safetensors "$OUT"
check "another encoder: eval finds $ANSWER" awk "BEGIN { exit !($ANSWER > 0.5) }"
cp "$OUT" "$WORK/first"
train "${pair[@]}" --old-vectors old.npy --compatible-with old.safetensors
check "the same again" cmp "$OUT" "$WORK/first"
train --vectors new.npy --output rotation.safetensors --old-vectors old.npy --compatible-with untrained --old-bits 2
check "a rotation: exit" test $RC = 0
asked untrained rotation.safetensors
check "a rotation: $ANSWER" awk "BEGIN { exit !($ANSWER > 0.45) }"
asked old.safetensors rotation.safetensors
check "codes that it does not know" grep -qF -- "--compatible-with" "$WORK/err"
train --vectors new.npy --output other.safetensors --old-vectors other.npy --compatible-with old.safetensors
check "other items: $ANSWER" grep -q 'same items' "$WORK/err"

# Ctrl-C keeps the best so far, and it too searches the old codes.
(
	cd "$WORK" || exit
	env --default-signal=INT "$HALFTONE" train --vectors new.npy --old-vectors old.npy \
		--compatible-with old.safetensors --output stopped --bits 1 --method recurrent \
		--steps 1000 --checkpoint 0 >out 2>err &
	for _ in $(seq 6000); do
		[ -e stopped.checkpoint ] && break
		sleep 0.01
	done
	kill -INT $!
	wait $!
)
RC=$?
check "Ctrl-C: exit $RC: $(tail -n 1 "$WORK/err")" test $RC = 0 -a -s "$WORK/stopped.checkpoint"
asked old.safetensors stopped
check "Ctrl-C: eval finds $ANSWER" awk "BEGIN { exit !($ANSWER > 0.5) }"

# The model after the next one still knows the first.
train --vectors new.npy --output third.safetensors --seed 9 --compatible-with "$OUT"
check "a chain: exit" test $RC = 0
asked old.safetensors "$OUT"
second=$ANSWER
asked old.safetensors third.safetensors
check "a chain: $ANSWER as $second" near "$ANSWER" "$second" 0.01

start
expect "a collection of it" 200 "" PUT /collections/c '{"vectors":{"size":80,"distance":"Cosine"},"codes":{"bits":1,"binarizer":"new"}}'
stop
finish
