#!/bin/bash
# The kernels of aarch64 give the bits of plain C: built by a cross compiler and run by
# qemu, or natively on such a machine.  Each tests/cross/*.c is a main that compares.
set -eu
cd "$(dirname "$0")/../.."
out=build/cross-aarch64

# What the mains are linked from, besides the modules of base that they need; a line for
# each module with kernels of its own for NEON.
sources=(base/{alloc,cpu,error,log,rng}.c tests/support/guard.c)
sources+=(attention/linear*.c tests/support/linear_twin.c)
sources+=(attention/{rows,softmax,hash}*.c)
sources+=(binarize/refine*.c)
sources+=(index/distance*.c base/code.c tests/support/distance_twin.c)

cc=aarch64-linux-gnu-gcc qemu=""
if [ "$(uname -m)" = aarch64 ]; then
	cc=gcc
else
	command -v $cc >/dev/null || { echo "there is no $cc; run: make deps"; exit 77; }
	for name in qemu-aarch64 qemu-aarch64-static; do
		[ -n "$qemu" ] || qemu=$(command -v $name || true)
	done
	[ -n "$qemu" ] || { echo "there is no qemu-aarch64; run: make deps"; exit 77; }
fi

mains=(tests/cross/*.c)
objects() { printf "$out/%s\n" "${@%.c}" | sed 's/$/.o/'; }
env -u MAKEFLAGS make -s -j "$(nproc)" CC=$cc SAN= OBJ=$out \
	$(objects "${sources[@]}" "${mains[@]}")
rm -f $out/cross.a
${cc%gcc}ar rcs $out/cross.a $(objects "${sources[@]}")
for main in "${mains[@]}"; do
	program=$out/${main%.c}
	$cc -static -pthread -o "$program" "$program.o" $out/cross.a -lm
	$qemu "$program"
	echo "ok $main"
done
