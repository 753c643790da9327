#!/bin/bash
# The kernels of AVX-512 and AMX give the bits of plain C, where no processor at hand has
# them: Bochs emulates a whole one, Linux boots on it and runs our tests as they are
# (each compares every kernel that its processor has).
# usage: tests/emulated/run.sh [PROGRAM...]    (make test-emulated)
#   PROGRAM   a test, say unit/test_rows; without, those of kernels
# BOCHS=path    an emulator that has tiles: see tests/emulated/bochs.patch.  Debian's
#               (apt-get install bochs bochs-term) has AVX-512 only.
# MINUTES=120   how long the emulator may run
# Takes minutes, a test some hundred times what it takes natively.  Exits 77, with a
# line, where something is not installed.  Everything lies in build/emulated.
set -eu
cd "$(dirname "$0")/../.."
out=build/emulated obj=build/release
bochs=${BOCHS:-bochs}

missing() { echo "$1; run: tools/deps.sh emulated"; exit 77; }
isolinux=/usr/lib/ISOLINUX/isolinux.bin
loader=/usr/lib/syslinux/modules/bios/ldlinux.c32
for tool in "$bochs" cpio genisoimage script; do
	command -v "$tool" >/dev/null || missing "there is no $tool"
done
for file in $isolinux $loader; do
	[ -e $file ] || missing "there is no $file"
done

# What Linux should do without.  Bochs lacks a register whose zero means "no fast
# strings", and FSRM alone breaks Linux's memmove; 2.7 misstates the size of saved
# registers where their form is compact or protection keys are among them.  Traps of tiles
# that the processor lacks take too long here.
if "$bochs" --help cpu 2>&1 | grep -qx sapphire_rapids; then
	cpu=sapphire_rapids least=amx screen=nogui without=fsrm
	tests=(unit/test_tiles unit/test_linear_tiles unit/test_distance_batch)
else
	cpu=tigerlake least=avx512 screen=term without=fsrm,pku,xsavec,xsaves
	tests=()
fi
tests+=(unit/test_{distance,distance_select,linear,refine,rows,softmax,hash})
[ $# -eq 0 ] || tests=("$@")
programs=("${tests[@]/#/$obj/tests/}")

# Debian's kernel, not installed: only its image is wanted.
fetch() (
	mkdir -p $out/kernel
	cd $out/kernel
	package=$(apt-cache depends linux-image-cloud-amd64 |
		sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | tail -n 1)
	apt-get download "$package"
	dpkg -x ./*.deb .
	mv boot/vmlinuz-* linux
)
[ -e $out/kernel/linux ] || fetch >/dev/null 2>&1 || true
[ -e $out/kernel/linux ] || { echo "could not fetch linux-image-cloud-amd64"; exit 77; }

env -u MAKEFLAGS make -s -j "$(nproc)" SAN= "${programs[@]}" \
	$obj/tests/emulated/init.o $obj/base/{cpu,error,log}.o

# What the machine's memory holds when it starts: init, the programs, the libraries
# that they load, and a shell, which some start themselves with.
root=$out/root
rm -rf $root $out/cd
mkdir -p $root/{dev,proc,tmp,bin} $out/cd
${CC:-gcc} -static -pthread -o $root/init $obj/tests/emulated/init.o $obj/base/{cpu,error,log}.o
for program in "${programs[@]}"; do
	cp "$program" $root/bin/
	strip "$root/bin/${program##*/}"
	echo "/bin/${program##*/}"
done >$root/list
cp -L /bin/sh $root/bin/sh
ldd "${programs[@]}" /bin/sh | grep -o '/[^ ]*\.so[^ ]*' | sort -u | while read -r library; do
	mkdir -p "$root${library%/*}"
	cp -L "$library" "$root$library"
done
(cd $root && find . | cpio --quiet -o -H newc) >$out/cd/root

cp $out/kernel/linux $isolinux $loader $out/cd
cat >$out/cd/isolinux.cfg <<END
default linux
label linux
kernel linux
append initrd=root console=ttyS0 quiet nosmp acpi=off nokaslr mitigations=off clearcpuid=$without
END
genisoimage -quiet -o $out/cd.iso -b isolinux.bin -c boot.cat -no-emul-boot \
	-boot-load-size 4 -boot-info-table $out/cd

cat >$out/bochsrc <<END
cpu: model=$cpu, ips=50000000, reset_on_triple_fault=0
megs: 512
display_library: $screen
ata0-master: type=cdrom, path=$out/cd.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$out/serial
log: $out/log
panic: action=fatal
END
rm -f $out/serial
start="$bochs -q -f $out/bochsrc"
if [ $screen = term ]; then
	echo c >$out/go # Debian's begins in a debugger, and wants a terminal
	start="script -qc '$bochs -q -f $out/bochsrc -rc $out/go' /dev/null"
fi
# What it draws there must be read, or it stands still when nothing more fits in.
drain() {
	local terminal=""
	while [ -z "$terminal" ]; do
		sleep 1
		terminal=$(sed -n 's/.*connected to screen "\([^"]*\)".*/\1/p' $out/screen)
	done
	exec cat "$terminal" >/dev/null
}
: >$out/screen
if [ $screen = term ]; then
	drain &
	trap 'kill $! 2>/dev/null || true' EXIT
fi
timeout "${MINUTES:-120}m" bash -c "$start" </dev/null >$out/screen 2>&1 || true

tr -d '\r' <$out/serial | sed -n '/^level /,$p'
tr -d '\r' <$out/serial >$out/text
grep -qx "level $least" $out/text || { echo "the emulated processor lacks $least"; exit 1; }
grep -qx end $out/text || { echo "it did not come to its end; see $out/serial, $out/log"; exit 1; }
passed=$(grep -c '^exit 0 ' $out/text || true)
echo "$passed of ${#programs[@]} passed on an emulated processor with $least"
[ "$passed" -eq ${#programs[@]} ]
