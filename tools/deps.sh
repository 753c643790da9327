#!/bin/sh
# Install what is missing for the named purposes: build, test, emulated, bench, peers,
# fuzz, threads, lint.
# Does nothing, and needs no root, where everything is there.
set -eu

build="gcc make libc6-dev libevent-dev liblmdb-dev libcjson-dev libutf8proc-dev"
build="$build libroaring-dev"
build="$build curl ca-certificates"
test="libcmocka-dev python3 python3-venv python3-yaml jq"
# Training loads it when it runs; nothing is linked with it.
test="$test libopenblas0-pthread"
# Kernels of another processor are compiled for it and emulated.
[ "$(uname -m)" != x86_64 ] ||
	cross="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
# A whole processor with AVX-512 is emulated, and Linux boots on it.
emulated="cpio genisoimage isolinux syslinux-common bsdutils"
[ -n "${BOCHS:-}" ] || emulated="$emulated bochs bochs-term"
lint="binutils clang clang-format clang-tidy libomp-dev git libdnnl-dev"
fuzz="clang libclang-rt-dev"
threads="clang libclang-rt-dev libomp-dev"
bench="python3 python3-venv libdnnl-dev libopenblas0-pthread wrk"
# PostgreSQL, and what builds pgvector, Redis and vegeta (a Go of another origin will do).
peers="postgresql postgresql-server-dev-all make dpkg-dev"
command -v go >/dev/null || peers="$peers golang-go"

want=""
for purpose in "$@"; do
	case $purpose in
	build) want="$want $build" ;;
	test) want="$want $test ${cross:-}" ;;
	emulated) want="$want $emulated" ;;
	bench) want="$want $bench" ;;
	peers) want="$want $peers" ;;
	fuzz) want="$want $fuzz" ;;
	threads) want="$want $threads" ;;
	lint) want="$want $lint $test" ;;
	*) echo "deps.sh: expected build, test, emulated, bench, peers, fuzz, threads" \
		"or lint, not '$purpose'" >&2
	   exit 2 ;;
	esac
done

missing=""
for package in $want; do
	state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

root=""
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || {
		echo "deps.sh: run as root, or install sudo; missing:$missing" >&2
		exit 1
	}
	root=sudo
fi
echo "installing:$missing" >&2
$root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends \
	$missing >&2
