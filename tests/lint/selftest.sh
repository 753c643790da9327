#!/bin/bash
# Each lint passes on a small clean house, refuses it after one violation of each
# kind was planted, and refuses a house in which there is nothing to check.
# usage: tests/lint/selftest.sh
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
failed=0 planted=0

git_in() { git -C "$1" -c user.name=lint -c user.email=lint@localhost -c commit.gpgsign=false "${@:2}"; }

house() { # makes a clean house in $temp/house
	rm -rf "$temp/house"
	mkdir -p "$temp/house"
	cd "$temp/house"
	mkdir base index binarize attention server client tests docs
	echo page >server/page.html; echo contract >docs/openapi.yaml
	cp "$root/Makefile" "$root/.clang-format" "$root/.clang-tidy" .
	printf '#ifndef BASE_INK_H\n#define BASE_INK_H\n\nint ink_level(int x);\n\n#endif\n' >base/ink.h
	printf '#include "base/ink.h"\n\nint\nink_level(int x)\n{\n\treturn x < 0 ? 0 : x;\n}\n' >base/ink.c
	printf '#ifndef INDEX_DOT_H\n#define INDEX_DOT_H\n\nint dot_size(int x);\n\n#endif\n' >index/dot.h
	printf '#include "index/dot.h"\n\n#include "base/ink.h"\n\nint\ndot_size(int x)\n{\n\treturn ink_level(x);\n}\n' >index/dot.c
	printf '#ifndef SERVER_DB_H\n#define SERVER_DB_H\n\nint db_version(void);\n\n#endif\n' >server/db.h
	printf '#include "server/db.h"\n\n#include <lmdb.h>\n\nint\ndb_version(void)\n{\n\treturn MDB_VERSION_MAJOR;\n}\n' >server/db.c
	printf '#include <event2/event.h>\n\n#include "server/db.h"\n\nint\nmain(void)\n{\n\treturn db_version() < 0 || event_get_version_number() == 0;\n}\n' >server/main.c
	printf '#include "base/ink.h"\n\nint\nmain(void)\n{\n\treturn ink_level(0);\n}\n' >client/main.c
	git_in . init -q
	git_in . add .
	git_in . commit -qm house
	cd "$root"
}

accept() { # what command...
	local what=$1
	shift
	"$@" >"$temp/out" 2>&1 && return 0
	echo "$1 has refused $what:"
	sed 's/^/    /' "$temp/out"
	failed=1
}

refuse() { # what reason command...    reason: a pattern of what it must say
	local what=$1 reason=$2 rc=0
	shift 2
	planted=$((planted + 1))
	"$@" >"$temp/out" 2>&1 || rc=1
	[ $rc = 1 ] && grep -qE "$reason" "$temp/out" && return 0
	echo "$1 has not refused $what for '$reason':"
	sed 's/^/    /' "$temp/out"
	failed=1
}

here=tests/lint at=$temp/house
names() { $here/build.sh gcc "$at" && $here/names.sh "$at" build/lint-gcc; }
commit() { git_in "$at" add . && git_in "$at" commit -qm planted; }

house
accept "a clean house" $here/layers.sh "$at"
accept "a clean house" $here/sizes.sh "$at"
accept "a clean house" $here/format.sh "$at"
accept "a clean house" $here/tidy.sh "$at"
accept "a clean house" $here/build.sh clang "$at"
accept "a clean house" names

plant() { # file text what
	house
	printf "$2" >>"$at/$1"
	what=$3
}

plant base/ink.c '#include "index/dot.h"\n' "base includes index"
refuse "$what" "base must not include index" $here/layers.sh "$at"
plant index/dot.c '#include "server/db.h"\n' "index includes server"
refuse "$what" "index must not include server" $here/layers.sh "$at"
plant binarize/grey.c '#include "index/dot.h"\n' "binarize includes index"
refuse "$what" "binarize must not include index" $here/layers.sh "$at"
plant attention/eye.h '#include "index/dot.h"\n' "attention includes index"
refuse "$what" "attention must not include index" $here/layers.sh "$at"
plant client/main.c '#include "server/db.h"\n' "client includes server"
refuse "$what" "client must not include server" $here/layers.sh "$at"
plant client/search.c '#include "index/dot.h"\n' "an HTTP command includes index"
refuse "$what" "client must not include index" $here/layers.sh "$at"
plant client/eval.c '#include "index/dot.h"\n' "an offline command may include index"
accept "$what" $here/layers.sh "$at"
plant server/main.c '#include <lmdb.h>\n' "LMDB outside server/db.c"
refuse "$what" "LMDB belongs" $here/layers.sh "$at"
plant base/ink.c '#include <event2/http.h>\n' "libevent in base"
refuse "$what" "libevent belongs" $here/layers.sh "$at"
plant index/dot.c '#include "dot.h"\n' "an include that is not from the root"
refuse "$what" "expected a path from the root" $here/layers.sh "$at"
plant index/dot.c '#include "base/gone.h"\n' "an include of a file that is not there"
refuse "$what" "there is no base/gone.h" $here/layers.sh "$at"

plant base/ink.c "$(printf '/**/\\n%.0s' {1..600})" "a file of 600 lines"
refuse "$what" "lines, expected fewer than 600" $here/sizes.sh "$at"
house
{ printf 'int\nink_long(void)\n{\n'; printf '\t/**/\n%.0s' {1..70}; printf '\treturn 0;\n}\n'; } >>"$at/base/ink.c"
refuse "a function of 74 lines" "ink_long has 74 lines" $here/sizes.sh "$at"
plant README 'see /roo''t/notes\n' "a machine's folder"
commit
refuse "$what" "README:1:" $here/sizes.sh "$at"
plant README 'pip install --index-ur''l=x\n' "a package registry"
commit
refuse "$what" "README:1:" $here/sizes.sh "$at"
house
head -c 12000001 /dev/zero >"$at/blob"
commit
git_in "$at" rm -q blob
git_in "$at" commit -qm gone
refuse "a blob over 12 MB, removed later" "blob of 12000001" $here/sizes.sh "$at"

plant base/ink.c 'int ink_a( void ) { return 1; }\n' "a file that is not formatted"
refuse "$what" "clang-format-violations" $here/format.sh "$at"

plant base/ink.c 'int\nink_bad(int *p)\n{\n\tif (!p)\n\t\treturn *p;\n\treturn 1;\n}\n' "a null pointer read"
refuse "$what" "core.NullDereference" $here/tidy.sh "$at"
house
$here/tidy.sh "$at" >"$temp/out"
sed -i 's/int ink_level(int x);/#include <stdlib.h>\n#include <stdlib.h>\n&/' "$at/base/ink.h"
refuse "a header that changed after its files were found clean" "duplicate-include" $here/tidy.sh "$at"

plant base/ink.c 'int\nink_more(int x)\n{\n\treturn 1;\n}\n' "a warning"
refuse "$what" "unused parameter|defined but not used|unused-parameter|no previous prototype|missing-prototypes" $here/build.sh gcc "$at"
refuse "$what" "unused parameter|defined but not used|unused-parameter|no previous prototype|missing-prototypes" $here/build.sh clang "$at"

house
sed -i 's/ink_level(int x)$/&;\n\nint\nsize_of_dot(void);\n\nint\nsize_of_dot(void)\n{\n\treturn 1;\n}\n\nint\n&/' "$at/index/dot.c" "$at/base/ink.c"
refuse "a name without its header's prefix" "exports size_of_dot" names
plant base/grey.c 'int grey_level(void);\n\nint\ngrey_level(void)\n{\n\treturn 1;\n}\n' "a file without a header"
refuse "$what" "has no header" names

house
rm -rf "$at"/*/*.[ch]
mkdir -p "$at/build/lint-gcc"
for lint in layers sizes format tidy; do
	refuse "nothing to check" "found no" $here/$lint.sh "$at"
done
refuse "nothing to check" "found no" $here/names.sh "$at" build/lint-gcc

[ $failed = 0 ] && echo "selftest: $planted violations planted and refused"
exit $failed
