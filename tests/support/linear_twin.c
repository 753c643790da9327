#include "tests/support/linear_twin.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/guard.h"

/* Memory of a case; `bytes` as guard_free wants them back. */
struct piece {
	void *start;
	size_t bytes;
};

enum {
	LEVELS,
	WEIGHT,
	SCALE,
	BIAS,
	X,
	Q,
	SCALE_X,
	SUM,
	TABLE,
	Y,
	Y_WANT,
	OUT,
	OUT_WANT,
	PIECES
};

struct memory {
	struct piece piece[PIECES];
};

static void *
take(struct memory *memory, int which, size_t bytes)
{
	memory->piece[which] = (struct piece){guard_new(bytes), bytes};
	return memory->piece[which].start;
}

static void
release(struct memory *memory)
{
	for (int i = 0; i < PIECES; i++)
		if (memory->piece[i].start)
			guard_free(memory->piece[i].start, memory->piece[i].bytes);
}

/* What kind of numbers a case has. */
enum style {
	PLAIN,
	EXTREME, /* the largest sums of all, of either sign */
	TIED,    /* results in halves, so that rounding meets ties */
	LARGE,   /* results that no table reaches, infinities too */
	STYLES
};

static int
level(struct rng *rng, enum linear_form form, enum style style)
{
	if (form == LINEAR_FOUR_LEVEL)
		return style == EXTREME ? 3 : 2 * (int)rng_below(rng, 4) - 3;
	const unsigned top = form == LINEAR_TERNARY ? 1 : 127;
	return style == EXTREME ? (int)top
				: (int)rng_below(rng, 2 * top + 1) - (int)top;
}

static float
number(struct rng *rng, enum style style)
{
	float uniform = 2 * rng_uniform(rng) - 1;

	if (style == TIED)
		return (float)(int)(8 * uniform) / 2;
	return style == LARGE ? uniform * 1e30f : uniform;
}

static void
fill_layer(struct linear *layer, struct memory *memory, const struct linear_twin *twin,
    struct rng *rng, enum style style)
{
	const size_t n = twin->in * twin->out;
	const size_t bytes = linear_weight_bytes(twin->form, twin->in, twin->out);
	/* A file's tensors may lie at any multiple of 4. */
	const size_t behind = rng_below(rng, 2) * 4;
	char *weight = take(memory, WEIGHT, bytes + behind);
	float *scale = take(memory, SCALE, twin->out * sizeof *scale);
	float *bias = take(memory, BIAS, twin->out * sizeof *bias);

	if (twin->form == LINEAR_FLOAT) {
		float *levels = take(memory, LEVELS, n * sizeof *levels);
		for (size_t i = 0; i < n; i++)
			levels[i] = number(rng, style);
		linear_pack_float((float *)(void *)weight, levels, twin->in, twin->out);
	} else {
		int8_t *levels = take(memory, LEVELS, n);
		for (size_t i = 0; i < n; i++)
			levels[i] = (int8_t)level(rng, twin->form, style);
		linear_pack(weight, levels, twin->form, twin->in, twin->out);
	}
	for (size_t i = 0; i < twin->out; i++) {
		scale[i] = style == TIED    ? 1.0f
			   : style == LARGE ? 1e30f
					    : rng_uniform(rng);
		bias[i] = number(rng, style == LARGE ? PLAIN : style);
	}
	*layer = (struct linear){twin->form, twin->in, twin->out, weight, scale, bias};
}

static void
fill_input(struct linear_input *in, struct memory *memory,
    const struct linear_twin *twin, struct rng *rng, enum style style)
{
	const size_t n = twin->n * twin->in;
	float *x = take(memory, X, n * sizeof *x);
	int8_t *q = take(memory, Q, n);
	float *scale = take(memory, SCALE_X, twin->n * sizeof *scale);
	int32_t *sum = take(memory, SUM, twin->n * sizeof *sum);

	for (size_t t = 0; t < twin->n; t++) {
		int sign = t % 2 ? -1 : 1;
		scale[t] = style == TIED    ? 1.0f
			   : style == LARGE ? 1e8f
					    : rng_uniform(rng);
		sum[t] = 0;
		for (size_t i = t * twin->in; i < (t + 1) * twin->in; i++) {
			x[i] = number(rng, style);
			q[i] =
			    (int8_t)(style == EXTREME ? 127 * sign
						      : level(rng, LINEAR_INT8, style));
			sum[t] += q[i];
		}
	}
	*in = (struct linear_input){twin->n, x, q, scale, sum};
}

static int
differs(const struct linear_kernel *kernel, const struct linear_twin *twin, size_t at,
    struct error *err)
{
	static const char *const thens[] = {"store", "add", "table"};

	return error_set(err, ERR_FORMAT,
	    "%s differs from scalar at %zu: %s, in %zu, out %zu, n %zu, %s",
	    kernel->name, at, linear_form_name(twin->form), twin->in, twin->out,
	    twin->n, thens[twin->then]);
}

static int
compare(const struct linear_kernel *kernel, const struct linear_twin *twin,
    struct rng *rng, enum style style, struct memory *memory, struct error *err)
{
	const size_t stride = twin->out + rng_below(rng, 2) * 3;
	const size_t n_y = (twin->n - 1) * stride + twin->out,
		     n_q = twin->n * twin->out;
	struct linear layer;
	struct linear_input in;

	fill_layer(&layer, memory, twin, rng, style);
	fill_input(&in, memory, twin, rng, style);
	float *y = take(memory, Y, n_y * sizeof *y);
	float *y_want = take(memory, Y_WANT, n_y * sizeof *y);
	int8_t *q = take(memory, OUT, n_q), *q_want = take(memory, OUT_WANT, n_q);
	int8_t *table = take(memory, TABLE, 256);
	for (size_t i = 0; i < n_y; i++)
		y[i] = y_want[i] = number(rng, PLAIN);
	for (size_t i = 0; i < 256; i++)
		table[i] = (int8_t)rng_u64(rng);
	struct linear_output out = {.then = twin->then};
	if (twin->then == LINEAR_TABLE) {
		out.q = q;
		out.table = table;
		out.step = style == PLAIN ? 0.02f : 0.5f;
		linear_forward(kernel, &layer, &in, &out);
		out.q = q_want;
	} else {
		out.y = y;
		out.stride = stride;
		linear_forward(kernel, &layer, &in, &out);
		out.y = y_want;
	}
	linear_forward(linear_find(CPU_SCALAR), &layer, &in, &out);
	for (size_t i = 0; i < n_y; i++)
		if (memcmp(y + i, y_want + i, sizeof *y) != 0)
			return differs(kernel, twin, i, err);
	for (size_t i = 0; i < n_q; i++)
		if (q[i] != q_want[i])
			return differs(kernel, twin, i, err);
	return 0;
}

int
linear_twin_compare(const struct linear_kernel *kernel, const struct linear_twin *twin,
    struct rng *rng, struct error *err)
{
	struct memory memory = {0};
	enum style style = (enum style)rng_below(rng, STYLES);

	/* Sums of floats that overflow to both infinities are NaN, whose bits the
	 * contract leaves open. */
	if (twin->form == LINEAR_FLOAT && style == LARGE)
		style = PLAIN;
	int rc = compare(kernel, twin, rng, style, &memory, err);
	release(&memory);
	return rc;
}

int
linear_twin_compare_all(
    const struct linear_kernel *kernel, size_t odds, struct rng *rng, struct error *err)
{
	static const struct {
		size_t in, out, n_min, n_max, n_step;
	} shape[] = {
	    {64, 64, 1, 40, 1},
	    {192, 128, 1, 40, 1},
	    {384, 192, 1, 70, 13},
	    {256, 64, 255, 300, 11},
	    {128, 128, 500, 620, 60},
	    {3072, 64, 1, 100, 33},
	    {3136, 64, 1, 100, 33},
	    {LINEAR_DIMS_MAX, 64, 3, 20, 17},
	};

	for (size_t s = 0; s < sizeof shape / sizeof shape[0]; s++)
		for (size_t n = shape[s].n_min; n <= shape[s].n_max;
		     n += shape[s].n_step)
			for (int form = LINEAR_TERNARY; form <= LINEAR_FLOAT; form++)
				for (int then = LINEAR_STORE; then <= LINEAR_TABLE;
				     then++) {
					struct linear_twin twin = {
					    (enum linear_form)form, shape[s].in,
					    shape[s].out, n, (enum linear_then)then};
					if (rng_below(rng, odds) == 0 &&
					    linear_twin_compare(
						kernel, &twin, rng, err) != 0)
						return -1;
				}
	return 0;
}
