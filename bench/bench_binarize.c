/* How many vectors a second one thread binarizes, and how fast JSON floats are read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/rng.h"
#include "bench/harness.h"
#include "binarize/recurrent.h"

#define VECTORS 64

static void
die(const struct error *err)
{
	fprintf(stderr, "bench_binarize: %s\n", err->text);
	exit(1);
}

/* Best of some passes over the vectors, in seconds a vector. */
static void
bench_encode(uint32_t input_dims, struct code_shape shape)
{
	struct error err;
	struct recurrent_rotation_config config = {
	    .input_dims = input_dims, .shape = shape, .seed = 1};
	struct recurrent *model = recurrent_new(&config, &err);
	struct recurrent_scratch *scratch =
	    model ? recurrent_scratch_new(model, &err) : NULL;
	float *x = malloc(VECTORS * input_dims * sizeof *x);
	uint8_t wire[CODE_BYTES_MAX];
	struct recurrent_numbers numbers;
	struct rng rng;
	uint64_t best = UINT64_MAX;

	if (!scratch || !x)
		die(&err);
	rng_init(&rng, 1, 1);
	for (size_t i = 0; i < VECTORS * input_dims; i++)
		x[i] = rng_normal(&rng);
	for (int pass = 0; pass < 50; pass++) {
		uint64_t start = clock_ns();
		for (size_t i = 0; i < VECTORS; i++)
			if (recurrent_encode(model, scratch, wire, &numbers,
				x + i * input_dims, &err) != 0)
				die(&err);
		uint64_t took = clock_ns() - start;
		best = took < best ? took : best;
	}
	printf("binarize  rotation %4u -> %4u x %u  %8.0f vectors/s a thread\n",
	    input_dims, shape.dims, shape.bits, VECTORS * 1e9 / (double)best);
	free(x);
	recurrent_scratch_free(scratch);
	recurrent_free(model);
}

static void
bench_floats(const char *format)
{
	enum { N = 100000 };
	char *text = malloc(N * 32);
	float *out = malloc(N * sizeof *out);
	size_t len = 0, n;
	struct rng rng;
	uint64_t best_check = UINT64_MAX, best = UINT64_MAX;

	if (!text || !out)
		exit(1);
	rng_init(&rng, 1, 1);
	for (int i = 0; i < N; i++) {
		text[len++] = i > 0 ? ',' : '[';
		len += (size_t)sprintf(
		    text + len, format, 0.05 * (double)rng_normal(&rng) / 3.0);
	}
	text[len++] = ']';
	for (int pass = 0; pass < 20; pass++) {
		struct json root;
		struct error err;
		uint64_t start = clock_ns();
		if (json_check(&root, text, len, &err) != 0)
			die(&err);
		uint64_t middle = clock_ns();
		if (json_floats(out, N, &n, &root, &err) != 0)
			die(&err);
		uint64_t end = clock_ns();
		best_check = middle - start < best_check ? middle - start : best_check;
		best = end - middle < best ? end - middle : best;
	}
	printf("json      floats as %-6s  check %5.0f MB/s, read %5.0f MB/s\n", format,
	    (double)len * 1e3 / (double)best_check, (double)len * 1e3 / (double)best);
	free(out);
	free(text);
}

int
main(void)
{
	harness_check_simd("bench_binarize");
	bench_encode(256, (struct code_shape){256, 2, 0});
	bench_encode(384, (struct code_shape){384, 2, 0});
	bench_encode(1024, (struct code_shape){1024, 4, 0});
	bench_encode(1536, (struct code_shape){1024, 4, 0});
	bench_floats("%.9g");
	bench_floats("%.17g");
	return 0;
}
