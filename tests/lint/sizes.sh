#!/bin/bash
# Hand-written files stay under 600 lines, C functions within 70, no blob in the
# history is over 12 MB, and nothing names a folder of somebody's machine or a
# package registry.
# usage: tests/lint/sizes.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/../..}"
lines_max=599 function_max=70 blob_max=12000000
failed=0

refuse() { echo "$1"; failed=1; }
git rev-parse --verify -q HEAD >/dev/null || { echo "sizes.sh: expected a git checkout with a commit"; exit 1; }

mapfile -t written < <(git ls-files --cached --others --exclude-standard -- '*.c' '*.h' '*.py' '*.sh' |
	while read -r file; do [ ! -e "$file" ] || echo "$file"; done)
[ "${#written[@]}" -gt 0 ] || { echo "sizes.sh: found no file to check"; exit 1; }
for file in "${written[@]}"; do
	lines=$(wc -l <"$file")
	[ "$lines" -le $lines_max ] || refuse "$file: $lines lines, expected fewer than 600; split it"
done

# A function begins with its name in column 0 and ends with a brace there.
mapfile -t sources < <(printf '%s\n' "${written[@]}" | grep '\.[ch]$' || true)
[ "${#sources[@]}" -gt 0 ] || { echo "sizes.sh: found no C file to check"; exit 1; }
awk -v max=$function_max '
/^[A-Za-z_][A-Za-z0-9_]* ?\(/ { name = $0; sub(/ ?\(.*/, "", name); start = FNR; file = FILENAME }
/^}/ {
	if (name != "" && file == FILENAME) {
		functions++
		if (FNR - start + 1 > max) {
			print FILENAME ":" start ": " name " has " FNR - start + 1 \
			    " lines, expected at most " max
			failed = 1
		}
	}
	name = ""
}
END {
	if (functions == 0)
		print "sizes.sh: found no function to measure"
	else
		print "sizes: " functions " functions"
	exit failed || functions == 0
}' "${sources[@]}" || failed=1

blobs=$(git rev-list --objects HEAD | git cat-file --batch-check='%(objecttype) %(objectsize) %(rest)' |
	awk -v max=$blob_max '$1 == "blob" { n++; if ($2 > max) print "blob of " $2 " bytes: " $3 }
		END { print "sizes: " n + 0 " blobs" }')
printf '%s\n' "$blobs"
! printf '%s\n' "$blobs" | grep -q '^blob of' || failed=1
! printf '%s\n' "$blobs" | grep -q '^sizes: 0 ' || failed=1

# Brackets keep these patterns from finding themselves.
private='(^|[^A-Za-z0-9_.~-])/(wor[k]|roo[t]|hom[e]/[a-z])/'
private="$private|[a-z0-9-]+\\.pkg\\.de[v]|artifact-registr[y]|registry\\.npmj[s]|registry\\.yarnpk[g]"
private="$private|(index|registry)-ur[l]|files\\.pythonhoste[d]|pypi\\.or[g]/simple|docker\\.i[o]/"
if git grep -I -n -E "$private" -- . ':!models/*/vocab.txt' ':!tests/golden' ':!LICENSE'; then
	refuse "sizes.sh: these lines name a machine's folder or a package registry"
fi
echo "sizes: ${#written[@]} files"
exit $failed
