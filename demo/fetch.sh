#!/bin/sh
# Write what apt knows of every package as JSON lines, long descriptions included.
# Needs no root and leaves the system's own lists alone: apt reads the system's
# sources but keeps lists and cache in a folder of the demo's own.
# usage: demo/fetch.sh FOLDER    makes FOLDER/packages.jsonl and FOLDER/packages.tsv
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/apt/lists/partial" "$1/apt/cache/archives/partial"
folder=$(cd "$1" && pwd)
conf=$folder/apt/apt.conf
export LC_ALL=C

# An index that is of no use here (sources, icons, file lists) is not fetched, and
# the system's hooks do not run.  apt checks signatures as always.
{
	echo "Dir::State::Lists \"$folder/apt/lists/\";"
	echo "Dir::Cache \"$folder/apt/cache/\";"
	echo "APT::Sandbox::User \"$(id -un)\";"
	echo '#clear Acquire::Languages;'
	echo 'Acquire::Languages { "en"; };'
	echo 'Acquire::Retries "2"; Acquire::http::Timeout "20"; Acquire::https::Timeout "20";'
	echo '#clear APT::Update::Pre-Invoke;'
	echo '#clear APT::Update::Post-Invoke;'
	echo '#clear APT::Update::Post-Invoke-Success;'
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(CREATED_BY)' | sort -u | while read -r index; do
		case $index in
		Packages | Translations | '') ;;
		Sources) echo 'Acquire::IndexTargets::deb-src::Sources::DefaultEnabled "false";' ;;
		*) echo "Acquire::IndexTargets::deb::$index::DefaultEnabled \"false\";" ;;
		esac
	done
} >"$conf"

# join APT-OPTIONS...: packages.jsonl and packages.tsv from the lists at hand.
join() {
	apt-cache "$@" dumpavail >"$folder/apt/available"
	# shellcheck disable=SC2016
	apt-get "$@" indextargets --format '$(FILENAME)' 'Created-By: Translations' |
	while read -r list; do
		case $list in *Translation-en*) ;; *) continue ;; esac
		/usr/lib/apt/apt-helper cat-file "$list" || true
		echo
	done >"$folder/apt/descriptions"
	for part in descriptions available; do # apt's data is UTF-8; make sure of it
		iconv -c -f UTF-8 -t UTF-8 "$folder/apt/$part" >"$folder/apt/$part.utf8" || true
	done
	awk -v short="$folder/packages.tsv.part" -f "$here/packages.awk" \
		"$folder/apt/descriptions.utf8" "$folder/apt/available.utf8" \
		>"$folder/packages.jsonl.part"
	rm -f "$folder/apt/available" "$folder/apt/descriptions" "$folder"/apt/*.utf8
	[ -s "$folder/packages.jsonl.part" ]
}

if apt-get -c "$conf" -qq update >"$folder/apt/log" 2>&1 && join -c "$conf"; then
	:
elif join -o Dir::Cache="$folder/apt/cache/"; then
	echo "fetch.sh: apt could not fetch the long descriptions ($folder/apt/log says" \
		"why); going on with what this system has" >&2
else
	echo "fetch.sh: expected apt to know some packages, found none; see" \
		"$folder/apt/log" >&2
	exit 1
fi
mv "$folder/packages.tsv.part" "$folder/packages.tsv"
mv "$folder/packages.jsonl.part" "$folder/packages.jsonl"
