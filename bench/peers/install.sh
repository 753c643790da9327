#!/bin/bash
# Rivals and load programs into build/peers, where they are not there yet:
#   redis-server, redis-cli   Redis 8 with vector sets, built from Debian's source package
#   vector.so, vector.sql     pgvector for this system's PostgreSQL, likewise
#   vegeta                    load at a rate (Go)
#   bin/python                numpy, faiss-cpu, usearch, hnswlib (PyPI)
# Nothing outside build/ is written.  What cannot be had is named and left out: its bench
# then says so.  Sources are of Debian's newest suite that has them: on Ubuntu, or with
# none in reach, lay NAME_VERSION.orig.tar.gz into build/peers/source.
# usage: bench/peers/install.sh     (after tools/deps.sh build bench peers)
set -eu
cd "$(dirname "$0")/../.."
mkdir -p build/peers/source
peers=$(cd build/peers && pwd)
log=$peers/install.log
: >"$log"

left_out() { echo "$1: not installed ($(tail -n 1 "$log")); its bench is left out" >&2; }

tarball() { # NAME: the newest of what was loaded
	find "$peers/source" -name "$1_*.orig.tar.gz" | sort -V | tail -n 1
}
# An apt of its own, with the suites that this system's lists do not have.
load_source() { # NAME: its tarball from Debian
	[ -z "$(tarball "$1")" ] || return 0
	local apt=$peers/apt suite site
	site=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
		'Origin: Debian' 'Label: Debian' | head -n 1)
	[ -n "$site" ] || { echo "no package list of Debian's"; return 1; }
	for suite in sid trixie; do
		rm -rf "$apt"
		mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
		: >"$apt/status"
		echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
			"$site $suite main" >"$apt/sources.list"
		cat >"$apt/conf" <<-END
			Dir::Etc::sourcelist "$apt/sources.list";
			Dir::Etc::sourceparts "-";
			Dir::State "$apt";
			Dir::State::status "$apt/status";
			Dir::Cache "$apt/cache";
		END
		APT_CONFIG=$apt/conf apt-get -qq update || continue
		# The packaging may be of another day than the list; it is not needed.
		(cd "$peers/source" &&
			APT_CONFIG=$apt/conf apt-get source --download-only "$1") || true
		rm -rf "$apt"
		[ -z "$(tarball "$1")" ] || return 0
	done
	return 1
}
unpack() { # NAME: its folder
	load_source "$1" >>"$log" 2>&1 || return 1
	rm -rf "$peers/source/$1"
	mkdir "$peers/source/$1"
	tar xf "$(tarball "$1")" -C "$peers/source/$1" --strip-components=1
}

redis() {
	unpack redis || return 1
	make -C "$peers/source/redis" -j"$(nproc)" BUILD_TLS=no >>"$log" 2>&1 || return 1
	cp "$peers/source/redis/src/redis-server" "$peers/source/redis/src/redis-cli" "$peers/"
}
pgvector() {
	local config
	config=$(find /usr/lib/postgresql -path '*/bin/pg_config' 2>/dev/null | sort -V | tail -n 1)
	[ -n "$config" ] || { echo "no pg_config of a server" >>"$log"; return 1; }
	unpack pgvector || return 1
	make -C "$peers/source/pgvector" PG_CONFIG="$config" >>"$log" 2>&1 || return 1
	cp "$peers/source/pgvector/vector.so" "$peers/"
	# CREATE EXTENSION would need it in the system's folders; the server's
	# dynamic_library_path needs not.
	sed "s|MODULE_PATHNAME|vector|; /^.echo/d" \
		"$peers/source/pgvector/sql/vector.sql" >"$peers/vector.sql"
	sed -n "s/^default_version *= *'\(.*\)'/\1/p" \
		"$peers/source/pgvector/vector.control" >"$peers/vector.version"
}
vegeta() {
	GOBIN=$peers go install github.com/tsenart/vegeta/v12@v12.12.0 >>"$log" 2>&1
}
python() {
	[ -x "$peers/bin/pip" ] || python3 -m venv "$peers" >>"$log" 2>&1 || return 1
	"$peers/bin/pip" install -q --timeout 20 --retries 1 numpy faiss-cpu usearch hnswlib \
		>>"$log" 2>&1
}

[ -x "$peers/redis-server" ] || redis || left_out Redis
[ -e "$peers/vector.sql" ] || pgvector || left_out pgvector
[ -x "$peers/vegeta" ] || vegeta || left_out vegeta
"$peers/bin/python" -c 'import faiss, hnswlib, numpy, usearch' 2>>"$log" || python ||
	left_out "faiss, usearch, hnswlib"
