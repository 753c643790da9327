/*
 * Claims of index/distance.h and how they are checked:
 *  - packed rows follow the layout in the header, and unpack is the reverse: against a
 *    twin that places each level by the formula;
 *  - every kernel gives the integers of the plain definition over levels, for every
 *    kind, 1..4 bits, all small and sampled large dims, 1..33 rows, extremes included,
 *    with blocks, dots and live bits that end at an unreadable page;
 *  - $SIMD is a ceiling.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "index/distance.h"
#include "tests/support/guard.h"

static const enum cpu_level levels_of_cpu[] = {
    CPU_SCALAR, CPU_NEON, CPU_AVX2, CPU_AVX512, CPU_AMX};
#define N_LEVELS (sizeof levels_of_cpu / sizeof levels_of_cpu[0])

/* Rows as levels, and the same rows in blocks that end at a guard page. */
struct rows {
	struct code_shape shape;
	size_t n_blocks;
	uint8_t *levels; /* (16 * n_blocks, dims) */
	uint8_t *blocks;
	size_t bytes;
};

static struct rows
rows_new(struct rng *rng, struct code_shape shape, size_t n)
{
	struct rows r = {shape, (n + 15) / 16, NULL, NULL, 0};
	uint8_t wire[CODE_BYTES_MAX];

	r.levels = calloc(r.n_blocks * 16, shape.dims);
	r.bytes = r.n_blocks * distance_block_bytes(shape);
	r.blocks = guard_new(r.bytes);
	for (size_t i = 0; i < n; i++) {
		uint8_t *c = r.levels + i * shape.dims;
		int extreme = rng_below(rng, 4) == 0;
		for (size_t d = 0; d < shape.dims; d++)
			c[d] = (uint8_t)(extreme ? (1u << shape.bits) - 1
						 : rng_below(rng, 1u << shape.bits));
		code_from_levels(wire, c, shape);
		distance_pack(r.blocks + i / 16 * distance_block_bytes(shape), i % 16,
		    wire, shape);
	}
	return r;
}

static void
rows_free(struct rows *r)
{
	free(r->levels);
	guard_free(r->blocks, r->bytes);
}

static void
test_layout(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 1);
	for (uint32_t bits = 1; bits <= 4; bits++) {
		for (uint32_t dims = 64; dims <= CODE_DIMS_MAX; dims += 64) {
			struct code_shape shape = {dims, bits, 0};
			const unsigned f = distance_field(bits);
			struct rows r = rows_new(&rng, shape, 16);
			size_t wire_bytes = code_bytes(shape);
			uint8_t *wire = guard_new(wire_bytes), want[CODE_BYTES_MAX];
			for (size_t row = 0; row < 16; row++) {
				const uint8_t *c = r.levels + row * dims;
				for (size_t i = 0; i < dims; i++) {
					size_t w = i / (32 / f), g = i % (32 / f) / 4;
					unsigned byte =
					    r.blocks[64 * w + 4 * row + i % 4];
					unsigned got = byte >> (f * g);
					assert_int_equal(got & ((1u << f) - 1), c[i]);
				}
				code_from_levels(want, c, shape);
				distance_unpack(wire, r.blocks, row, shape);
				assert_memory_equal(wire, want, wire_bytes);
			}
			guard_free(wire, wire_bytes);
			rows_free(&r);
		}
	}
}

/* A query of each kind, with the vectors that the plain definition needs. */
struct probe {
	struct distance_query *q; /* ends at a guard page */
	uint8_t levels[CODE_DIMS_MAX];
	int values[CODE_DIMS_MAX];
};

static const size_t query_bytes = sizeof(struct distance_query);

static void
probe_init(struct probe *p, struct rng *rng, enum distance_kind kind,
    struct code_shape shape, struct distance_terms terms)
{
	int top = (1 << shape.bits) - 1, style = (int)rng_below(rng, 4);
	int8_t values[CODE_DIMS_MAX];

	p->q = guard_new((query_bytes + 63) / 64 * 64);
	for (size_t i = 0; i < shape.dims; i++) {
		p->levels[i] = (uint8_t)rng_below(rng, (uint64_t)top + 1);
		values[i] = (int8_t)(rng_below(rng, 255) - 127);
		if (style < 2) { /* all at one end */
			p->levels[i] = (uint8_t)(style ? top : 0);
			values[i] = style ? 127 : -127;
		}
		if (style == 2)
			values[i] = -128;
		p->values[i] =
		    kind == DISTANCE_SDC ? 2 * p->levels[i] - top : values[i];
	}
	if (kind == DISTANCE_HAMMING)
		distance_query_hamming(p->q, p->levels, shape);
	else if (kind == DISTANCE_SDC)
		distance_query_sdc(p->q, p->levels, 0.75f, shape, terms);
	else
		distance_query_int8(p->q, values, 0.0125f, shape, terms);
}

static void
probe_free(struct probe *p)
{
	guard_free(p->q, (query_bytes + 63) / 64 * 64);
}

/* The definition in the header. */
static int32_t
plain_dot(const struct probe *p, const uint8_t *c)
{
	const struct code_shape shape = p->q->shape;
	int top = (1 << shape.bits) - 1, plane0 = 1 << (shape.bits - 1);
	int32_t sum = 0;

	for (size_t i = 0; i < shape.dims; i++) {
		if (p->q->kind == DISTANCE_HAMMING)
			sum += (c[i] & plane0) == (p->levels[i] & plane0) ? 1 : -1;
		else
			sum += p->values[i] * (2 * c[i] - top);
	}
	return sum;
}

static void
check_dots(struct rng *rng, struct code_shape shape, size_t n)
{
	struct rows r = rows_new(rng, shape, n);
	size_t bytes = r.n_blocks * 16 * sizeof(int32_t);
	struct probe *p = malloc(sizeof *p);

	for (int kind = DISTANCE_HAMMING; kind <= DISTANCE_INT8; kind++) {
		int32_t *want = malloc(bytes);
		probe_init(p, rng, (enum distance_kind)kind, shape,
		    (struct distance_terms){DISTANCE_DOT, 0, 0, NULL});
		for (size_t i = 0; i < r.n_blocks * 16; i++)
			want[i] = plain_dot(p, r.levels + i * shape.dims);
		for (size_t l = 0; l < N_LEVELS; l++) {
			const struct distance_kernel *kernel =
			    distance_find(levels_of_cpu[l]);
			if (!kernel)
				continue;
			int32_t *dots = guard_new(bytes);
			distance_dots(kernel, dots, p->q, r.blocks, r.n_blocks);
			assert_memory_equal(dots, want, bytes);
			guard_free(dots, bytes);
		}
		free(want);
		probe_free(p);
	}
	free(p);
	rows_free(&r);
}

static void
test_dots(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, test_seed(), 2);
	for (uint32_t bits = 1; bits <= 4; bits++) {
		for (uint32_t dims = 64; dims <= 512; dims += 64)
			for (size_t n = 1; n <= 33; n += 1 + rng_below(&rng, 6))
				check_dots(&rng, (struct code_shape){dims, bits, 0}, n);
		for (uint32_t dims = 576; dims <= CODE_DIMS_MAX; dims += 64)
			check_dots(&rng, (struct code_shape){dims, bits, 0},
			    1 + rng_below(&rng, 33));
		check_dots(&rng, (struct code_shape){CODE_DIMS_MAX, bits, 0}, 33);
	}
}

/* The largest sums that a shape can give: nothing wraps or saturates. */
static void
test_extremes(void **state)
{
	(void)state;
	for (uint32_t bits = 1; bits <= 4; bits++) {
		struct code_shape shape = {CODE_DIMS_MAX, bits, 0};
		size_t bytes = distance_block_bytes(shape);
		uint8_t *blocks = guard_new(bytes), wire[CODE_BYTES_MAX];
		struct distance_query *q =
		    aligned_alloc(64, (query_bytes + 63) / 64 * 64);
		for (int sign = 0; sign < 4; sign++) {
			int8_t values[CODE_DIMS_MAX];
			int top = (1 << bits) - 1, k = sign & 1 ? 127 : -128;
			_Alignas(64) int32_t dots[DISTANCE_ROWS];
			memset(values, k, sizeof values);
			memset(wire, sign & 2 ? 0xFF : 0, sizeof wire);
			for (size_t row = 0; row < DISTANCE_ROWS; row++)
				distance_pack(blocks, row, wire, shape);
			distance_query_int8(q, values, 1, shape,
			    (struct distance_terms){DISTANCE_DOT, 0, 0, NULL});
			for (size_t l = 0; l < N_LEVELS; l++) {
				const struct distance_kernel *kernel =
				    distance_find(levels_of_cpu[l]);
				if (!kernel)
					continue;
				distance_dots(kernel, dots, q, blocks, 1);
				for (size_t row = 0; row < DISTANCE_ROWS; row++)
					assert_int_equal(
					    dots[row], k * CODE_DIMS_MAX *
							   (sign & 2 ? top : -top));
			}
		}
		free(q);
		guard_free(blocks, bytes);
	}
}

/* Scores are the inner products that base/code.h defines, up to float rounding. */
static void
test_meaning(void **state)
{
	struct rng rng;
	struct probe *p = malloc(sizeof *p);

	(void)state;
	rng_init(&rng, test_seed(), 4);
	for (uint32_t bits = 1; bits <= 4; bits++) {
		struct code_shape shape = {192, bits, 0};
		struct rows r = rows_new(&rng, shape, 16);
		_Alignas(64) int32_t dots[16];
		for (int kind = DISTANCE_SDC; kind <= DISTANCE_INT8; kind++) {
			probe_init(p, &rng, (enum distance_kind)kind, shape,
			    (struct distance_terms){DISTANCE_DOT, 0, 0, NULL});
			distance_dots(
			    distance_find(CPU_SCALAR), dots, p->q, r.blocks, 1);
			for (size_t row = 0; row < 16; row++) {
				double want = 0;
				for (size_t i = 0; i < shape.dims; i++)
					want +=
					    code_value(r.levels[row * 192 + i], bits) *
					    (kind == DISTANCE_SDC
						    ? 0.75 *
							  code_value(p->levels[i], bits)
						    : 0.0125 * p->values[i]);
				assert_float_equal(
				    p->q->scale * (float)dots[row], want, 1e-3);
			}
			probe_free(p);
		}
		rows_free(&r);
	}
	free(p);
}

static void
test_report(void **state)
{
	struct distance_query *q = aligned_alloc(64, (query_bytes + 63) / 64 * 64);
	uint8_t levels[64] = {0};
	int8_t values[64] = {0};
	struct code_shape shape = {64, 1, 0};

	(void)state;
	distance_query_hamming(q, levels, shape);
	assert_float_equal(distance_report(q, 0.25f), 0.25f, 0);
	distance_query_int8(
	    q, values, 1, shape, (struct distance_terms){DISTANCE_DOT, 0, 9, NULL});
	assert_float_equal(distance_report(q, 0.25f), 0.25f, 0);
	distance_query_int8(
	    q, values, 1, shape, (struct distance_terms){DISTANCE_EUCLID, 0, 9, NULL});
	assert_float_equal(distance_report(q, 5.0f), 2.0f, 0);  /* sqrt(9 - 5) */
	assert_float_equal(distance_report(q, 10.0f), 0.0f, 0); /* not below zero */
	free(q);
}

static void
test_choice(void **state)
{
	(void)state;
	assert_non_null(distance_find(CPU_SCALAR));
	for (size_t l = 0; l < N_LEVELS; l++) {
		const struct distance_kernel *kernel = distance_find(levels_of_cpu[l]);
		if (kernel)
			assert_string_equal(
			    kernel->name, cpu_level_name(levels_of_cpu[l]));
	}
	/* main() set the ceiling before the first use. */
	assert_string_equal(distance_best()->name, "scalar");
}

/* In a process of its own: the choice is made once. */
static int
best_without_ceiling(void)
{
	const struct distance_kernel *want = distance_find(CPU_SCALAR);

	unsetenv("SIMD");
	for (size_t l = 0; l < N_LEVELS; l++)
		if (distance_find(levels_of_cpu[l]))
			want = distance_find(levels_of_cpu[l]);
	return distance_best() == want ? 0 : 1;
}

static const char *self;

static void
test_best(void **state)
{
	char command[4096];

	(void)state;
	snprintf(command, sizeof command, "'%s' best", self);
	assert_int_equal(system(command), 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_layout),
	    cmocka_unit_test(test_dots),
	    cmocka_unit_test(test_extremes),
	    cmocka_unit_test(test_meaning),
	    cmocka_unit_test(test_report),
	    cmocka_unit_test(test_choice),
	    cmocka_unit_test(test_best),
	};

	if (argc > 1)
		return best_without_ceiling();
	self = argv[0];
	setenv("SIMD", "scalar", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
