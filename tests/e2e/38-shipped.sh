#!/bin/bash
# Claim: the models that ship are those whose checksums models/README.md gives, and
# halftone-mini embeds as the PyTorch reference does (tests/golden/make_shipped.py).
. "$(dirname "$0")/common.sh"
HALFTONE=$BIN/halftone

n=0
while read -r name sum; do
	check "$name" test "$(sha256sum "$MODELS/$name" | cut -d ' ' -f 1)" = "$sum"
	n=$((n + 1))
done < <(awk '/^## / { folder = $2 } /^\| [a-z0-9.]+ \| [0-9,]+ \| `[0-9a-f]+` \|/ { gsub("`", ""); print folder "/" $2, $6 }' "$MODELS/README.md")
check "every file has a line: $n" test "$n" = "$(find "$MODELS"/*/ -type f | wc -l)"

"$HALFTONE" embed --model "$MODELS/halftone-mini" --output "$WORK/v.npy" \
	tests/golden/halftone-mini.txt 2>"$WORK/err" || cat "$WORK/err" >&2
check "as the reference" python3 - "$WORK/v.npy" tests/golden/halftone-mini.npy <<'EOF'
import struct, sys
def rows(path):
    data = open(path, "rb").read()
    start = 10 + struct.unpack_from("<H", data, 8)[0]
    n = (len(data) - start) // 4
    return [struct.unpack_from("<384f", data, start + 1536 * i) for i in range(n // 384)]
ours, theirs = map(rows, sys.argv[1:])
cosines = [sum(a * b for a, b in zip(x, y)) for x, y in zip(ours, theirs)]
print(f"cosines {min(cosines):.7f} .. {max(cosines):.7f}", file=sys.stderr)
sys.exit(len(ours) != len(theirs) or len(ours) < 20 or min(cosines) < 0.9999)
EOF
finish
