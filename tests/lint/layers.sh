#!/bin/bash
# Hold the include arrows of docs/design.md:
#   base <- index, binarize, attention (these three never see one another) <- server;
#   client sees base, its offline commands (embed, eval, train, convert) also index,
#   binarize and attention; nothing but server sees server; tests and bench see all.
# libevent is used in server/ only, LMDB in server/db*.c (and server/db_*.h)
# only; tests may use both.  Our own headers are named from the root.
# usage: tests/lint/layers.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/../..}"

mapfile -t files < <(find base index binarize attention server client tests bench \
	-name '*.[ch]' 2>/dev/null | sort)
[ "${#files[@]}" -gt 0 ] || { echo "layers.sh: found no C file to check"; exit 1; }
awk '
BEGIN {
	may["base"] = " base "
	may["index"] = " base index "
	may["binarize"] = " base binarize "
	may["attention"] = " base attention "
	may["server"] = " base index binarize attention server "
	may["client"] = " base client "
	offline = " base index binarize attention client "
	all = " base index binarize attention server client tests bench "
}
function refuse(why) {
	print FILENAME ":" FNR ": " why
	failed = 1
}
FNR == 1 {
	files++
	folder = FILENAME
	sub(/\/.*/, "", folder)
	allowed = folder in may ? may[folder] : all
	if (FILENAME ~ /^client\/(embed|eval|train|convert)[a-z_]*\.[ch]$/)
		allowed = offline
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
	includes++
	header = $0
	sub(/^[^"]*"/, "", header)
	sub(/".*/, "", header)
	if (header !~ /\//) {
		refuse("expected a path from the root, not \"" header "\"")
		next
	}
	if ((getline line < header) < 0)
		refuse("there is no " header " from the root")
	close(header)
	layer = header
	sub(/\/.*/, "", layer)
	if (index(allowed, " " layer " ") == 0)
		refuse(folder " must not include " header)
}
/^[ \t]*#[ \t]*include[ \t]*<(event2\/|event\.h|evhttp\.h|evutil\.h)/ {
	if (folder !~ /^(server|tests|bench)$/)
		refuse("libevent belongs in server/")
}
/^[ \t]*#[ \t]*include[ \t]*<lmdb\.h>/ {
	if (FILENAME !~ /^(server\/db(_[a-z]+)*\.c|server\/db_[a-z]+\.h|tests\/.*)$/)
		refuse("LMDB belongs in server/db*.c and their own headers server/db_*.h")
}
END {
	if (includes == 0)
		print "layers.sh: found no include to check"
	print "layers: " files " files, " includes " includes"
	exit failed || includes == 0
}' "${files[@]}"
