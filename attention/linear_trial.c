#include <string.h>

#include "attention/linear_kernels.h"
#include "base/rng.h"

/* The self-test: small layers of every form, with every end of a pass and tokens that
 * fill tiles and leave every remainder. */
#define IN_MAX 192
#define OUT_MAX 128
#define TOKENS_MAX 35

struct trial {
	_Alignas(64) float weight[IN_MAX * OUT_MAX]; /* or packed levels */
	_Alignas(64) float x[TOKENS_MAX * IN_MAX];
	_Alignas(64) int8_t q[TOKENS_MAX * IN_MAX];
	_Alignas(64) float y[2][TOKENS_MAX * OUT_MAX]; /* the kernel's, the scalar's */
	_Alignas(64) int8_t bytes[2][TOKENS_MAX * OUT_MAX];
	int8_t levels[IN_MAX * OUT_MAX];
	float scale[OUT_MAX], bias[OUT_MAX];
	float scale_x[TOKENS_MAX];
	int32_t sum[TOKENS_MAX];
	int8_t table[256];
	struct linear layer;
	struct linear_input in;
};

static float
number(struct rng *rng)
{
	return 2 * rng_uniform(rng) - 1;
}

static int
level(struct rng *rng, enum linear_form form)
{
	if (form == LINEAR_TERNARY)
		return (int)rng_below(rng, 3) - 1;
	if (form == LINEAR_FOUR_LEVEL)
		return 2 * (int)rng_below(rng, 4) - 3;
	return (int)rng_below(rng, 255) - 127;
}

static void
fill(struct trial *t, struct rng *rng, enum linear_form form, size_t in, size_t out)
{
	t->layer = (struct linear){form, in, out, t->weight, t->scale, t->bias};
	t->in = (struct linear_input){TOKENS_MAX, t->x, t->q, t->scale_x, t->sum};
	for (size_t i = 0; i < in * out; i++) {
		t->levels[i] = (int8_t)level(rng, form);
		t->weight[i] = number(rng);
	}
	if (form != LINEAR_FLOAT)
		linear_pack(t->weight, t->levels, form, in, out);
	for (size_t i = 0; i < out; i++) {
		t->scale[i] = rng_uniform(rng);
		t->bias[i] = number(rng);
	}
	for (size_t i = 0; i < TOKENS_MAX; i++) {
		t->scale_x[i] = rng_uniform(rng);
		t->sum[i] = 0;
		for (size_t k = 0; k < in; k++) {
			t->x[i * in + k] = number(rng);
			t->q[i * in + k] = (int8_t)level(rng, LINEAR_INT8);
			t->sum[i] += t->q[i * in + k];
		}
	}
	for (size_t i = 0; i < sizeof t->table; i++)
		t->table[i] = (int8_t)rng_u64(rng);
}

static bool
same(struct trial *t, const struct linear_kernel *kernel, enum linear_then then)
{
	const struct linear_kernel *of[] = {kernel, &linear_scalar};

	for (size_t i = 0; i < 2; i++) {
		/* y is the same at first: what LINEAR_ADD adds to, and what lies behind
		 * the last token. */
		for (size_t k = 0; k < TOKENS_MAX * OUT_MAX; k++)
			t->y[i][k] = t->bias[k % t->layer.out];
		memset(t->bytes[i], 0, sizeof t->bytes[i]);
		linear_forward(of[i], &t->layer, &t->in,
		    &(struct linear_output){.then = then,
			.y = t->y[i],
			.stride = t->layer.out,
			.q = t->bytes[i],
			.table = t->table,
			.step = t->layer.form == LINEAR_FLOAT ? 8.0f : 0.05f});
	}
	return memcmp(t->y[0], t->y[1], sizeof t->y[0]) == 0 &&
	       memcmp(t->bytes[0], t->bytes[1], sizeof t->bytes[0]) == 0;
}

bool
linear_agrees(const struct linear_kernel *kernel)
{
	static const size_t tokens[] = {1, 2, 3, 4, 5, 6, 16, TOKENS_MAX};
	struct trial t;
	struct rng rng;

	rng_init(&rng, 1, 0);
	for (int form = LINEAR_TERNARY; form <= LINEAR_FLOAT; form++)
		for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
			/* Narrow where there are many: a start waits for this. */
			bool many = tokens[i] > 8;
			fill(&t, &rng, (enum linear_form)form,
			    i % 2 && !many ? 64 : IN_MAX, many || i % 3 ? 64 : OUT_MAX);
			t.in.n = tokens[i];
			if (!same(
				&t, kernel, (enum linear_then)((i + (size_t)form) % 3)))
				return false;
		}
	return true;
}
