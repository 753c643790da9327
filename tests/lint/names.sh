#!/bin/bash
# A file exports only names that begin with its header's prefix: what hnsw.c,
# hnsw_build.c and the functions of hnsw.h have in common is hnsw_.  Asks nm, so it
# needs objects; `make` puts them into build/release, run.sh gives its own.
# usage: tests/lint/names.sh ROOT OBJ    (OBJ as seen from ROOT)
set -eu
cd "$1"
obj=$2
failed=0 objects=0 names=0

refuse() { echo "$1"; failed=1; }

# The prefixes that FOLDER/STEM.c may export: of each header FOLDER/P.h where P is
# STEM or STEM begins with P_.
prefixes() { # folder stem
	local part=$2
	case $1/$2 in base/alloc*) echo array_ ;; esac # sizes of arrays are its subject
	while :; do
		[ ! -e "$1/$part.h" ] || echo "${part}_"
		case $part in *_*) part=${part%_*} ;; *) break ;; esac
	done
}

for source in base/*.c index/*.c binarize/*.c attention/*.c server/*.c client/*.c; do
	[ -e "$source" ] || continue
	folder=${source%/*} stem=$(basename "$source" .c) object=$obj/${source%.c}.o
	[ -e "$object" ] || { refuse "$source: not built, expected $object"; continue; }
	objects=$((objects + 1))
	if [ "$stem" = main ]; then
		allowed=main
	else
		allowed=$(prefixes "$folder" "$stem")
		[ -n "$allowed" ] ||
			{ refuse "$source: has no header, expected $folder/$stem.h or a part of that name"; continue; }
	fi
	exported=$(nm --defined-only --extern-only --format=posix "$object" |
		awk '$1 !~ /^(__|\.omp|\.gomp|_\.)/ { print $1 }')
	for name in $exported; do
		names=$((names + 1))
		ok=0
		for prefix in $allowed; do
			case $name in "$prefix"* | "${prefix%_}") ok=1 ;; esac
		done
		[ $ok = 1 ] || refuse "$source: exports $name, expected $(echo $allowed | sed 's/ / or /g')..."
	done
done
[ "$names" -gt 0 ] || refuse "names.sh: found no exported name to check in $obj"
echo "names: $objects objects, $names exported names"
exit $failed
