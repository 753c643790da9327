/*
 * The linear part of an encoder of all-MiniLM-L6-v2's shape, ours against oneDNN: 6
 * layers of query, key and value (one matrix of 1152 rows there), output, up and down,
 * int8 activations with a scale a row, weights packed beforehand, bias added, float
 * out.  Rounds take turns; medians of processor time, one thread.
 *
 * bench/run.sh builds it where oneDNN 2 is installed, and holds both sides to one
 * instruction set: SIMD here, ONEDNN_MAX_CPU_ISA there.
 */
#include <stdio.h>
#include <stdlib.h>

#include <oneapi/dnnl/dnnl.h>

#include "attention/linear.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "bench/harness.h"

#define NAME "linear_onednn"
#define DIMS 384
#define WIDE 1536
#define LAYERS 6
#define THEIRS 4 /* matrices a layer: q, k and v at once */
#define OURS 6
#define TOKENS_MAX 128
#define ROUNDS 25
#define REPEATS 4

static const size_t theirs[THEIRS][2] = {
    {DIMS, 3 * DIMS}, {DIMS, DIMS}, {DIMS, WIDE}, {WIDE, DIMS}};
static const size_t ours[OURS][2] = {
    {DIMS, DIMS}, {DIMS, DIMS}, {DIMS, DIMS}, {DIMS, DIMS}, {DIMS, WIDE}, {WIDE, DIMS}};

static void
need(dnnl_status_t status)
{
	if (status != dnnl_success)
		harness_fail(NAME, "oneDNN refuses a matrix");
}

/* oneDNN's side for one number of tokens and one type of activations. */
struct peer {
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	dnnl_primitive_t matmul[LAYERS * THEIRS];
	dnnl_memory_t memory[LAYERS * THEIRS][4]; /* x, weights, bias, y */
	const char *name;                         /* of the kernel */
};

static dnnl_memory_desc_t
plain(size_t rows, size_t columns, dnnl_data_type_t type)
{
	dnnl_memory_desc_t desc;
	const dnnl_dims_t dims = {(dnnl_dim_t)rows, (dnnl_dim_t)columns};

	need(dnnl_memory_desc_init_by_tag(&desc, 2, dims, type, dnnl_ab));
	return desc;
}

/* Memory of its own, filled with small numbers of the type's size. */
static dnnl_memory_t
filled(const struct peer *p, const dnnl_memory_desc_t *desc)
{
	const size_t n = dnnl_memory_desc_get_size(desc);
	dnnl_memory_t memory;
	void *bytes;

	need(dnnl_memory_create(&memory, desc, p->engine, DNNL_MEMORY_ALLOCATE));
	need(dnnl_memory_get_data_handle(memory, &bytes));
	for (size_t i = 0; i < n; i++)
		((uint8_t *)bytes)[i] =
		    desc->data_type == dnnl_f32 ? 0 : (uint8_t)(i * 37 % 127);
	return memory;
}

/* Weights in the layout that the kernel asks for. */
static dnnl_memory_t
packed(const struct peer *p, const_dnnl_primitive_desc_t pd, dnnl_memory_t from)
{
	const dnnl_memory_desc_t *want =
	    dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
	const dnnl_memory_desc_t *have;
	dnnl_memory_t to;
	dnnl_primitive_desc_t reorder_pd;
	dnnl_primitive_t reorder;

	need(dnnl_memory_get_memory_desc(from, &have));
	need(dnnl_memory_create(&to, want, p->engine, DNNL_MEMORY_ALLOCATE));
	need(dnnl_reorder_primitive_desc_create(
	    &reorder_pd, have, p->engine, want, p->engine, NULL));
	need(dnnl_primitive_create(&reorder, reorder_pd));
	const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
	need(dnnl_primitive_execute(reorder, p->stream, 2, args));
	need(dnnl_stream_wait(p->stream));
	dnnl_primitive_destroy(reorder);
	dnnl_primitive_desc_destroy(reorder_pd);
	dnnl_memory_destroy(from);
	return to;
}

static void
peer_matrix(struct peer *p, size_t i, size_t tokens, dnnl_data_type_t type)
{
	const size_t in = theirs[i % THEIRS][0], out = theirs[i % THEIRS][1];
	static const float scale[WIDE];
	const dnnl_memory_desc_t x = plain(tokens, in, type);
	const dnnl_memory_desc_t w = plain(in, out, dnnl_s8);
	const dnnl_memory_desc_t bias = plain(1, out, dnnl_f32);
	const dnnl_memory_desc_t y = plain(tokens, out, dnnl_f32);
	dnnl_memory_desc_t any = w;
	dnnl_matmul_desc_t desc;
	dnnl_primitive_attr_t attr;
	dnnl_primitive_desc_t pd;

	any.format_kind = dnnl_format_kind_any;
	need(dnnl_primitive_attr_create(&attr));
	need(dnnl_primitive_attr_set_output_scales(
	    attr, (dnnl_dim_t)out, 1 << 1, scale));
	need(dnnl_matmul_desc_init(&desc, &x, &any, &bias, &y));
	need(dnnl_primitive_desc_create(&pd, &desc, attr, p->engine, NULL));
	need(dnnl_primitive_create(&p->matmul[i], pd));
	need(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &p->name));
	p->memory[i][0] = filled(p, &x);
	p->memory[i][1] = packed(p, pd, filled(p, &w));
	p->memory[i][2] = filled(p, &bias);
	p->memory[i][3] = filled(p, &y);
	dnnl_primitive_desc_destroy(pd);
	dnnl_primitive_attr_destroy(attr);
}

static void
peer_run(const struct peer *p)
{
	for (size_t i = 0; i < LAYERS * THEIRS; i++) {
		const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, p->memory[i][0]},
		    {DNNL_ARG_WEIGHTS, p->memory[i][1]},
		    {DNNL_ARG_BIAS, p->memory[i][2]}, {DNNL_ARG_DST, p->memory[i][3]}};
		need(dnnl_primitive_execute(p->matmul[i], p->stream, 4, args));
	}
	need(dnnl_stream_wait(p->stream));
}

/* Our side. */
struct own {
	struct linear layer[LAYERS * OURS];
	struct linear_input in;
};

static void *
memory_of(size_t n)
{
	uint8_t *p = array_new_aligned(n, 1);

	if (!p)
		harness_fail(NAME, "no memory");
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 37 % 127);
	return p;
}

static void
own_init(struct own *own, enum linear_form form)
{
	static float numbers[WIDE];

	for (size_t i = 0; i < LAYERS * OURS; i++) {
		const size_t in = ours[i % OURS][0], out = ours[i % OURS][1];
		own->layer[i] = (struct linear){form, in, out,
		    memory_of(linear_weight_bytes(form, in, out)), numbers, numbers};
	}
	own->in = (struct linear_input){.q = memory_of(TOKENS_MAX * WIDE),
	    .scale = numbers,
	    .sum = memory_of(TOKENS_MAX * sizeof(int32_t))};
}

static void
own_run(struct own *own, float *y, size_t tokens)
{
	const struct linear_kernel *kernel = linear_best();
	struct linear_output out = {.then = LINEAR_STORE, .y = y};

	own->in.n = tokens;
	for (size_t i = 0; i < LAYERS * OURS; i++) {
		out.stride = own->layer[i].out;
		linear_forward(kernel, &own->layer[i], &own->in, &out);
	}
}

/* Everything that takes turns, and its times. */
enum { ONEDNN_U8, ONEDNN_S8, TERNARY, INT8, SIDES };

static void
compare(struct peer peers[2], struct own own[2], float *y, size_t tokens)
{
	struct harness_time times[SIDES][ROUNDS], median[SIDES];
	static const char *names[] = {
	    "oneDNN u8 x s8", "oneDNN s8 x s8", "ours, ternary", "ours, int8"};

	for (size_t p = 0; p < 2; p++)
		for (size_t i = 0; i < LAYERS * THEIRS; i++)
			peer_matrix(
			    &peers[p], i, tokens, p == ONEDNN_U8 ? dnnl_u8 : dnnl_s8);
	for (size_t round = 0; round < ROUNDS + 1; round++)
		for (size_t k = 0; k < SIDES; k++) {
			const size_t side = (k + round) % SIDES;
			struct harness_watch watch = harness_start();
			for (size_t i = 0; i < REPEATS; i++)
				if (side < TERNARY)
					peer_run(&peers[side]);
				else
					own_run(&own[side - TERNARY], y, tokens);
			if (round > 0) /* the first warms up */
				times[side][round - 1] = harness_stop(watch);
		}
	for (size_t side = 0; side < SIDES; side++)
		median[side] = harness_median(times[side], ROUNDS);
	const double best = median[ONEDNN_U8].cpu < median[ONEDNN_S8].cpu
				? median[ONEDNN_U8].cpu
				: median[ONEDNN_S8].cpu;
	for (size_t side = 0; side < SIDES; side++)
		printf("| %-14s | %-22s | %6zu | %8.0f | %4.2f |\n", names[side],
		    side < TERNARY ? peers[side].name : linear_best()->name, tokens,
		    1e6 * median[side].cpu / REPEATS, best / median[side].cpu);
	fflush(stdout);
}

int
main(void)
{
	struct peer peers[2] = {{0}};
	struct own own[2];
	float *y = memory_of(TOKENS_MAX * WIDE * sizeof *y);

	harness_check_simd(NAME);
	for (size_t p = 0; p < 2; p++) {
		need(dnnl_engine_create(&peers[p].engine, dnnl_cpu, 0));
		need(dnnl_stream_create(
		    &peers[p].stream, peers[p].engine, dnnl_stream_default_flags));
	}
	own_init(&own[0], LINEAR_TERNARY);
	own_init(&own[1], LINEAR_INT8);
	printf("the 36 matrices of 6 layers, ours held to %s, oneDNN %d.%d to %s: "
	       "microseconds of processor time\n"
	       "| engine         | kernel                 | tokens |       us | x "
	       "oneDNN |\n",
	    linear_best()->name, dnnl_version()->major, dnnl_version()->minor,
	    getenv("ONEDNN_MAX_CPU_ISA"));
	compare(peers, own, y, 16);
	compare(peers, own, y, 128);
	return 0; /* the system takes the memory back */
}
