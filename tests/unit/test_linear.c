/*
 * Claims of attention/linear.h and how they are checked:
 *  - packed weights lie as the header draws them, and unpack is the reverse of pack;
 *  - linear_check names each kind of number that a layer cannot have, wherever it is,
 *    and takes what is allowed;
 *  - the scalar kernel is the header's formula, against a twin over plain levels;
 *  - every kernel gives the scalar kernel's bits: all forms, all ends, 1 .. 40 tokens
 * and more, many shapes, extremes at the widest, weights aligned to 4 bytes, every
 * array between its neighbours and an unreadable page;
 *  - the self-test notices a kernel that is wrong in a form;
 *  - $SIMD is a ceiling.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attention/linear_kernels.h"
#include "base/rng.h"
#include "tests/support/guard.h"

static const enum cpu_level cpu_levels[] = {
    CPU_SCALAR, CPU_NEON, CPU_AVX2, CPU_AVX512, CPU_AMX};
#define N_CPU_LEVELS (sizeof cpu_levels / sizeof cpu_levels[0])

static const char *const then_names[] = {"store", "add", "table"};

/* A layer, its input and what it is made of; every array ends at a guard page. */
struct work {
	struct linear layer;
	struct linear_input in;
	int8_t *levels; /* (out, in) */
	float *weights; /* (out, in), of a float layer */
	void *packed;   /* = layer.weight */
	float *scale, *bias, *x, *scale_x;
	int8_t *q;
	int32_t *sum;
};

enum style { RANDOM, ALL_LOW, ALL_HIGH, OPPOSITE };

static int
draw_level(struct rng *rng, enum linear_form form, enum style style)
{
	static const int tops[] = {1, 3, 127};

	if (style != RANDOM)
		return style == ALL_LOW ? -tops[form] : tops[form];
	if (form == LINEAR_FOUR_LEVEL)
		return 2 * (int)rng_below(rng, 4) - 3;
	return (int)rng_below(rng, 2 * (uint64_t)tops[form] + 1) - tops[form];
}

static float
draw(struct rng *rng)
{
	return 2 * rng_uniform(rng) - 1;
}

static void
fill_weights(struct work *w, struct rng *rng, enum style style)
{
	const struct linear *layer = &w->layer;
	const size_t n = layer->in * layer->out;

	if (layer->form == LINEAR_FLOAT) {
		for (size_t i = 0; i < n; i++)
			w->weights[i] = style == RANDOM ? draw(rng) : 1e30f;
		linear_pack_float(w->packed, w->weights, layer->in, layer->out);
		return;
	}
	for (size_t i = 0; i < n; i++)
		w->levels[i] = (int8_t)draw_level(rng, layer->form, style);
	linear_pack(w->packed, w->levels, layer->form, layer->in, layer->out);
}

static struct work
work_new(struct rng *rng, enum linear_form form, size_t in, size_t out, size_t n,
    enum style style)
{
	struct work w = {0};
	const size_t bytes = linear_weight_bytes(form, in, out);

	w.levels = guard_new(in * out);
	w.weights = guard_new(in * out * sizeof *w.weights);
	w.packed = guard_new(bytes);
	w.scale = guard_new(out * sizeof *w.scale);
	w.bias = guard_new(out * sizeof *w.bias);
	w.x = guard_new(n * in * sizeof *w.x);
	w.q = guard_new(n * in);
	w.scale_x = guard_new(n * sizeof *w.scale_x);
	w.sum = guard_new(n * sizeof *w.sum);
	w.layer = (struct linear){form, in, out, w.packed, w.scale, w.bias};
	w.in = (struct linear_input){n, w.x, w.q, w.scale_x, w.sum};
	fill_weights(&w, rng, style);
	for (size_t i = 0; i < out; i++) {
		w.scale[i] = rng_below(rng, 16) ? rng_uniform(rng) : 0;
		w.bias[i] = 100 * draw(rng);
	}
	for (size_t t = 0; t < n; t++) {
		w.scale_x[t] = rng_uniform(rng);
		w.sum[t] = 0;
		for (size_t k = 0; k < in; k++) {
			enum style s = style == OPPOSITE ? ALL_LOW : style;
			w.x[t * in + k] = draw(rng);
			w.q[t * in + k] = (int8_t)draw_level(rng, LINEAR_INT8, s);
			w.sum[t] += w.q[t * in + k];
		}
	}
	return w;
}

static void
work_free(struct work *w)
{
	const size_t in = w->layer.in, out = w->layer.out, n = w->in.n;

	guard_free(w->levels, in * out);
	guard_free(w->weights, in * out * sizeof *w->weights);
	guard_free(w->packed, linear_weight_bytes(w->layer.form, in, out));
	guard_free(w->scale, out * sizeof *w->scale);
	guard_free(w->bias, out * sizeof *w->bias);
	guard_free(w->x, n * in * sizeof *w->x);
	guard_free(w->q, n * in);
	guard_free(w->scale_x, n * sizeof *w->scale_x);
	guard_free(w->sum, n * sizeof *w->sum);
}

/* What a kernel writes: y with `gap` floats between rows, or bytes. */
struct result {
	float *y;
	int8_t *q;
	size_t y_bytes, q_bytes;
	struct linear_output out;
};

static struct result
result_new(const struct work *w, enum linear_then then, size_t gap)
{
	static int8_t table[256];
	struct result r = {0};
	const size_t out = w->layer.out, n = w->in.n, stride = out + gap;

	for (size_t i = 0; i < sizeof table; i++)
		table[i] = (int8_t)(i * 77 + 5);
	/* No gap behind the last row. */
	r.y_bytes = n ? ((n - 1) * stride + out) * sizeof *r.y : 0;
	r.q_bytes = n * out;
	r.y = guard_new(r.y_bytes);
	r.q = guard_new(r.q_bytes);
	for (size_t i = 0; i < r.y_bytes / sizeof *r.y; i++)
		r.y[i] = (float)(i % 97) - 48.5f;
	memset(r.q, 99, r.q_bytes);
	r.out = (struct linear_output){.then = then,
	    .y = r.y,
	    .stride = stride,
	    .q = r.q,
	    .table = table,
	    .step = w->layer.form == LINEAR_FLOAT ? 0.9f : 0.37f};
	return r;
}

static void
result_free(struct result *r)
{
	guard_free(r->y, r->y_bytes);
	guard_free(r->q, r->q_bytes);
}

/* Every kernel against the scalar one, with one end. */
static void
check_kernels(const struct work *w, enum linear_then then, size_t gap)
{
	struct result want = result_new(w, then, gap);

	linear_forward(&linear_scalar, &w->layer, &w->in, &want.out);
	for (size_t l = 1; l < N_CPU_LEVELS; l++) {
		const struct linear_kernel *kernel = linear_find(cpu_levels[l]);
		if (!kernel)
			continue;
		struct result got = result_new(w, then, gap);
		linear_forward(kernel, &w->layer, &w->in, &got.out);
		if (memcmp(got.y, want.y, want.y_bytes) != 0 ||
		    memcmp(got.q, want.q, want.q_bytes) != 0)
			fail_msg("%s differs: %s %zu -> %zu, %zu tokens, %s",
			    kernel->name, linear_form_name(w->layer.form), w->layer.in,
			    w->layer.out, w->in.n, then_names[then]);
		result_free(&got);
	}
	result_free(&want);
}

static void
check_shape(struct rng *rng, enum linear_form form, size_t in, size_t out, size_t n)
{
	struct work w = work_new(rng, form, in, out, n, RANDOM);

	for (int then = LINEAR_STORE; then <= LINEAR_TABLE; then++)
		check_kernels(&w, (enum linear_then)then, rng_below(rng, 2) * 7);
	work_free(&w);
}

static void
test_tokens(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 1);
	for (int form = LINEAR_TERNARY; form <= LINEAR_FLOAT; form++) {
		for (size_t n = 0; n <= 40; n++)
			check_shape(&rng, (enum linear_form)form,
			    64 * (1 + rng_below(&rng, 4)),
			    64 * (1 + rng_below(&rng, 2)), n);
		check_shape(&rng, (enum linear_form)form, 128, 64, 173);
	}
}

static void
test_shapes(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 2);
	for (int form = LINEAR_TERNARY; form <= LINEAR_FLOAT; form++) {
		for (size_t in = 64; in <= 1536; in += 64)
			check_shape(&rng, (enum linear_form)form, in,
			    64 * (1 + rng_below(&rng, 3)), 1 + rng_below(&rng, 8));
		for (size_t out = 192; out <= 1536; out += 64)
			check_shape(&rng, (enum linear_form)form, 64, out,
			    1 + rng_below(&rng, 8));
	}
}

/* The largest sums, at the widest layer there is: nothing wraps or saturates. */
static void
test_extremes(void **state)
{
	static const size_t widths[] = {1536, LINEAR_DIMS_MAX};
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 3);
	for (int form = LINEAR_TERNARY; form < LINEAR_FLOAT; form++)
		for (size_t i = 0; i < 2; i++)
			for (int style = ALL_LOW; style <= OPPOSITE; style++) {
				struct work w = work_new(&rng, (enum linear_form)form,
				    widths[i], 64, i ? 3 : 7, (enum style)style);
				check_kernels(&w, LINEAR_STORE, 0);
				check_kernels(&w, LINEAR_TABLE, 0);
				work_free(&w);
			}
}

/* What a table's index is when the number is far out, infinite or NaN. */
static void
test_table_ends(void **state)
{
	static const float biases[] = {
	    3e38f, -3e38f, 127.49f, 127.51f, -128.51f, -0.5f, 0.5f, 1.5f, 2.5f, -2.5f};
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 4);
	struct work w = work_new(&rng, LINEAR_INT8, 64, 64, 4, RANDOM);
	for (size_t j = 0; j < 64; j++) {
		w.bias[j] = biases[j % 10];
		w.scale[j] = j % 3 ? 0 : FLT_MAX;
	}
	w.scale_x[1] = INFINITY;
	w.scale_x[2] = NAN;
	w.scale_x[3] = 0;
	check_kernels(&w, LINEAR_TABLE, 0);

	struct result r = result_new(&w, LINEAR_TABLE, 0);
	r.out.step = 1;
	linear_forward(&linear_scalar, &w.layer, &w.in, &r.out);
	static const int want[] = {127, -128, 127, 127, -128, 0, 0, 2, 2, -2};
	for (size_t j = 0; j < 64; j++) {
		const int8_t *q = r.q + 3 * 64;
		if (w.scale[j] == 0)
			assert_int_equal(q[j], r.out.table[128 + want[j % 10]]);
		assert_int_equal(r.q[2 * 64 + j], r.out.table[0]); /* NaN */
	}
	result_free(&r);
	work_free(&w);
}

/* Weights at every multiple of 4. */
static void
test_alignment(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 5);
	for (int form = LINEAR_TERNARY; form <= LINEAR_FLOAT; form++) {
		struct work w =
		    work_new(&rng, (enum linear_form)form, 128, 64, 9, RANDOM);
		const size_t bytes = linear_weight_bytes(w.layer.form, 128, 64);
		for (size_t shift = 4; shift < 64; shift += 4) {
			char *moved = guard_new(bytes + shift); /* 64 - shift mod 64 */
			memcpy(moved, w.packed, bytes);
			w.layer.weight = moved;
			check_kernels(&w, LINEAR_STORE, 0);
			guard_free(moved, bytes + shift);
		}
		work_free(&w);
	}
}

/* The formulas of the header over plain levels. */
static float
plain(const struct work *w, size_t token, size_t j)
{
	const size_t in = w->layer.in;
	int32_t acc = 0;
	float y = w->bias[j];

	for (size_t k = 0; k < in; k++) {
		acc += w->levels[j * in + k] * w->q[token * in + k];
		if (w->layer.form == LINEAR_FLOAT)
			y = fmaf(w->x[token * in + k], w->weights[j * in + k], y);
	}
	if (w->layer.form == LINEAR_FLOAT)
		return y;
	y = (float)acc * w->scale[j];
	y = y * w->scale_x[token];
	return y + w->bias[j];
}

static void
test_scalar(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 6);
	for (int form = LINEAR_TERNARY; form <= LINEAR_FLOAT; form++)
		for (int then = LINEAR_STORE; then <= LINEAR_TABLE; then++) {
			struct work w =
			    work_new(&rng, (enum linear_form)form, 192, 128, 3, RANDOM);
			struct result r = result_new(&w, (enum linear_then)then, 5);
			struct result old = result_new(&w, (enum linear_then)then, 5);
			linear_forward(&linear_scalar, &w.layer, &w.in, &r.out);
			for (size_t i = 0; i < 3 * 128; i++) {
				size_t t = i / 128, j = i % 128, at = t * 133 + j;
				float y = plain(&w, t, j);
				if (then == LINEAR_TABLE) {
					float v = rintf(y * r.out.step);
					v = v > 127 ? 127 : v < -128 ? -128 : v;
					assert_int_equal(
					    r.q[i], r.out.table[128 + (int)v]);
					continue;
				}
				if (then == LINEAR_ADD)
					y = old.y[at] + y;
				assert_memory_equal(&r.y[at], &y, sizeof y);
			}
			/* The rest is as it was. */
			for (size_t i = 0; i < old.y_bytes / sizeof(float); i++)
				if (then == LINEAR_TABLE || i % 133 >= 128)
					assert_true(r.y[i] == old.y[i]);
			result_free(&old);
			result_free(&r);
			work_free(&w);
		}
}

static void
test_pack(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 7);
	for (int form = LINEAR_TERNARY; form <= LINEAR_FLOAT; form++) {
		const size_t in = 64 * (1 + rng_below(&rng, 4));
		const size_t out = 64 * (1 + rng_below(&rng, 4));
		struct work w =
		    work_new(&rng, (enum linear_form)form, in, out, 1, RANDOM);
		const uint8_t *bytes = w.packed;
		const float *floats = w.packed;
		int8_t *back = guard_new(in * out);
		for (size_t i = 0; i < in * out; i++) {
			const size_t row = i / in, k = i % in;
			const size_t line16 = row / 16 * (in / 4) + k / 4;
			const size_t line64 = row / 64 * (in / 4) + k / 4;
			const size_t byte = 4 * (row % 16) + k % 4;
			int code =
			    bytes[64 * (form == LINEAR_INT8 ? 0 : line64) + byte];
			code = code >> row % 64 / 16 * 2 & 3;
			if (form == LINEAR_FLOAT)
				assert_true(
				    floats[(row / 16 * in + k) * 16 + row % 16] ==
				    w.weights[i]);
			else if (form == LINEAR_INT8)
				assert_int_equal(
				    (int8_t)bytes[64 * line16 + byte], w.levels[i]);
			else if (form == LINEAR_TERNARY)
				assert_int_equal(code - 1, w.levels[i]);
			else
				assert_int_equal(2 * code - 3, w.levels[i]);
		}
		if (form != LINEAR_FLOAT) {
			linear_unpack(back, w.packed, w.layer.form, in, out);
			assert_memory_equal(back, w.levels, in * out);
		}
		guard_free(back, in * out);
		work_free(&w);
	}
}

static void
expect_refused(const struct work *w, const char *what, size_t row, size_t column)
{
	struct error err = {0};
	char place[64];

	snprintf(place, sizeof place, "(row %zu, column %zu)", row, column);
	assert_int_equal(linear_check(&w->layer, &err), -1);
	assert_int_equal(err.code, ERR_FORMAT);
	assert_non_null(strstr(err.text, what));
	assert_non_null(strstr(err.text, place));
}

static void
test_check_weights(void **state)
{
	struct rng rng;
	struct error err;

	(void)state;
	rng_init(&rng, test_seed(), 8);
	for (int form = LINEAR_TERNARY; form <= LINEAR_FLOAT; form++) {
		struct work w =
		    work_new(&rng, (enum linear_form)form, 128, 192, 1, RANDOM);
		assert_int_equal(linear_check(&w.layer, &err), 0);
		for (int round = 0; round < 200; round++) {
			size_t row = rng_below(&rng, 192),
			       column = rng_below(&rng, 128);
			int8_t *level = w.levels + row * 128 + column, old = *level;
			if (form == LINEAR_TERNARY)
				*level = 2; /* code 3 */
			else if (form == LINEAR_INT8)
				*level = -128;
			else
				continue;
			linear_pack(w.packed, w.levels, w.layer.form, 128, 192);
			expect_refused(&w,
			    form == LINEAR_INT8 ? "not -128" : "codes 0, 1 or 2, not 3",
			    row, column);
			*level = old;
		}
		work_free(&w);
	}
}

static void
test_check_floats(void **state)
{
	static const float odd[] = {INFINITY, -INFINITY, NAN};
	static const char *const printed[] = {"not inf", "not -inf", "nan"};
	struct rng rng;
	struct error err;

	(void)state;
	rng_init(&rng, test_seed(), 9);
	for (int form = LINEAR_TERNARY; form <= LINEAR_FLOAT; form++) {
		struct work w =
		    work_new(&rng, (enum linear_form)form, 64, 128, 1, RANDOM);
		if (form == LINEAR_FLOAT)
			w.layer.scale = NULL;
		for (size_t i = 0; i < 6; i++) {
			const bool bias = i >= 3;
			if (!bias && form == LINEAR_FLOAT)
				continue;
			float *at = (bias ? w.bias : w.scale) + 127, old = *at;
			*at = odd[i % 3];
			assert_int_equal(linear_check(&w.layer, &err), -1);
			assert_int_equal(err.code, ERR_FORMAT);
			assert_non_null(strstr(err.text, printed[i % 3]));
			assert_non_null(
			    strstr(err.text, bias ? "(bias 127)" : "(scale 127)"));
			*at = old;
		}
		w.scale[3] = -0.25f;
		if (form != LINEAR_FLOAT) {
			assert_int_equal(linear_check(&w.layer, &err), -1);
			assert_non_null(strstr(err.text, "not -0.25 (scale 3)"));
		}
		w.scale[3] = 0;
		assert_int_equal(linear_check(&w.layer, &err), 0);
		work_free(&w);
	}
}

/* A kernel that forgets the last token, in one form. */
static void
forgetful(const struct linear *layer, const struct linear_input *in,
    const struct linear_output *out)
{
	struct linear_input less = *in;

	less.n -= in->n > 16;
	linear_forward(&linear_scalar, layer, &less, out);
}

static void
test_self_test(void **state)
{
	struct linear_kernel broken[] = {linear_scalar, linear_scalar, linear_scalar};

	(void)state;
	broken[0].two_bit = forgetful;
	broken[1].int8 = forgetful;
	broken[2].real = forgetful;
	assert_true(linear_agrees(&linear_scalar));
	for (size_t i = 0; i < 3; i++)
		assert_false(linear_agrees(&broken[i]));
	for (size_t l = 0; l < N_CPU_LEVELS; l++) {
		const struct linear_kernel *kernel = linear_find(cpu_levels[l]);
		assert_true(!kernel || linear_agrees(kernel));
		assert_true(!kernel || kernel->level == cpu_levels[l]);
	}
}

/* Runs first: the choice is made once. */
static void
test_ceiling(void **state)
{
	(void)state;
	assert_int_equal(setenv("SIMD", "scalar", 1), 0);
	assert_string_equal(linear_best()->name, "scalar");
	assert_int_equal(unsetenv("SIMD"), 0);
	assert_string_equal(linear_best()->name, "scalar");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ceiling),
	    cmocka_unit_test(test_pack),
	    cmocka_unit_test(test_check_weights),
	    cmocka_unit_test(test_check_floats),
	    cmocka_unit_test(test_scalar),
	    cmocka_unit_test(test_tokens),
	    cmocka_unit_test(test_shapes),
	    cmocka_unit_test(test_extremes),
	    cmocka_unit_test(test_table_ends),
	    cmocka_unit_test(test_alignment),
	    cmocka_unit_test(test_self_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
