/* Claims of binarize/checkpoint.h, neighbours.h, descent.h and
 * client/train_population.h:
 *  - what is written comes back into its places; a checkpoint of other settings, other
 *    vectors, another form, or cut short at any place is refused, and no place has
 *    changed;
 *  - a neighbour is the nearest of its block, as a plain loop finds it;
 *  - a training that goes on from a checkpoint takes the steps of one that was never
 *    broken off, to the bit; each loss alone can be learned from; no memory is refused;
 *  - of a population the worst takes the best's place and varies its tuning.
 * Those that multiply are skipped, with a line, where OpenBLAS is not installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "binarize/checkpoint.h"
#include "binarize/descent.h"
#include "binarize/neighbours.h"
#include "binarize/recurrent.h"
#include "binarize/recurrent_model.h"
#include "client/train_population.h"
#include "tests/support/guard.h"
#include "tests/support/openblas.h"

static const struct checkpoint_task task = {"settings", "vectors"};

static const char *
path_of(const char *name)
{
	static char path[600];
	snprintf(path, sizeof path, "%s/%s", test_folder(), name);
	return path;
}

/* A bit of a byte of the file. */
static void
flip(FILE *file, long at)
{
	fseek(file, at, SEEK_SET);
	int byte = fgetc(file);
	assert_true(byte != EOF);
	fseek(file, at, SEEK_SET);
	fputc(byte ^ 4, file);
	fflush(file);
}

static void
test_round_trip(void **state)
{
	(void)state;
	float a[3] = {1, 2, 3};
	int64_t b = -5;
	double c = 0.1;
	struct error err;
	struct checkpoint *cp = calloc(1, sizeof *cp);
	assert_non_null(cp);
	checkpoint_add(cp, "a", TENSOR_F32, a, 3);
	checkpoint_add(cp, "nothing", TENSOR_F32, NULL, 0);
	snprintf(cp->group, sizeof cp->group, "7.");
	checkpoint_add(cp, "b", TENSOR_I64, &b, 1);
	checkpoint_add(cp, "c", TENSOR_U8, &c, sizeof c);
	const char *path = path_of("checkpoint");
	assert_int_equal(checkpoint_load(cp, path, &task, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_int_equal(checkpoint_save(cp, path, &task, &err), 0);
	a[0] = a[1] = a[2] = 9;
	b = 9;
	c = 9;

	struct checkpoint_task other = {"other settings", "vectors"};
	assert_int_equal(checkpoint_load(cp, path, &other, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "not \"settings\""));
	other = (struct checkpoint_task){"settings", "other vectors"};
	assert_int_equal(checkpoint_load(cp, path, &other, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	checkpoint_add(cp, "d", TENSOR_I64, &b, 1);
	assert_int_equal(checkpoint_load(cp, path, &task, &err), -1);
	assert_int_equal(err.code, ERR_FORMAT);
	cp->n--;
	assert_true(a[0] == 9 && b == 9 && c == 9);

	assert_int_equal(checkpoint_load(cp, path, &task, &err), 0);
	assert_true(a[0] == 1 && a[1] == 2 && a[2] == 3 && b == -5 && c == 0.1);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	long size = ftell(file);
	fclose(file);
	assert_true(size > 100);
	/* Its numbers are the last bytes: a bit of each. */
	file = fopen(path, "r+");
	assert_non_null(file);
	a[0] = 9;
	for (long at = size - 28; at < size; at++) {
		flip(file, at);
		assert_int_equal(checkpoint_load(cp, path, &task, &err), -1);
		assert_int_equal(err.code, ERR_FORMAT);
		assert_non_null(strstr(err.text, "damaged"));
		assert_true(a[0] == 9);
		flip(file, at);
	}
	fclose(file);
	assert_int_equal(checkpoint_load(cp, path, &task, &err), 0);
	for (a[0] = 9; size-- > 0;) {
		assert_int_equal(truncate(path, size), 0);
		assert_int_equal(checkpoint_load(cp, path, &task, &err), -1);
		assert_true(a[0] == 9);
	}
	free(cp);
}

enum { D = 32, ROWS = 600, PAIRS = 16, STEPS = 12 };

/* u (n, D): normal, the j-th direction by (1 + j)^-.5, at length 1. */
static float *
vectors_new(size_t n)
{
	struct rng rng;
	float *u = calloc(n * D, sizeof *u);
	assert_non_null(u);
	rng_init(&rng, test_seed(), 7);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < D; j++)
			u[i * D + j] = rng_normal(&rng) / sqrtf((float)(1 + j));
		recurrent_centre(u + i * D, u + i * D, NULL, D);
	}
	return u;
}

/* n rows: whole blocks, and a last one that begins in the one before it. */
static void
test_neighbours(void **state)
{
	(void)state;
	const struct blas *blas = test_blas();
	const size_t sizes[] = {2, 257, NEIGHBOURS_BLOCK + 300};
	for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
		struct error err;
		size_t n = sizes[k],
		       block = n < NEIGHBOURS_BLOCK ? n : NEIGHBOURS_BLOCK;
		float *u = vectors_new(n);
		uint32_t *nearest = guard_new(n * sizeof *nearest);
		assert_int_equal(neighbours_find(nearest, blas, u, n, D, &err), 0);
		for (size_t i = 0; i < n; i += 1 + i / 50) {
			size_t first = i < NEIGHBOURS_BLOCK ? 0 : n - block;
			double best = -2.0;
			for (size_t j = first; j < first + block; j++)
				if (j != i)
					best = fmax(best,
					    recurrent_dot(u + i * D, u + j * D, D));
			assert_true(nearest[i] != i && nearest[i] < n);
			double found = recurrent_dot(u + i * D, u + nearest[i] * D, D);
			if (found < best - 1e-6)
				fail_msg("row %zu: %.7f, not %.7f", i, found, best);
		}
		guard_free(nearest, n * sizeof *nearest);
		free(u);
	}
}

struct rig {
	float *u;
	uint32_t left[ROWS], right[ROWS];
	uint64_t ids[ROWS];
	struct descent_config config;
	struct descent_tuning tuning;
	struct descent_data data;
};

static struct rig *
rig_new(void)
{
	struct rig *r = calloc(1, sizeof *r);
	assert_non_null(r);
	r->u = vectors_new(ROWS);
	for (uint32_t i = 0; i < ROWS; i++) {
		r->left[i] = i;
		r->right[i] = (i + 1) % ROWS;
		r->ids[i] = r->right[i];
	}
	r->config = (struct descent_config){.blas = test_blas(),
	    .model = {.input_dims = D, .shape = {64, 2, 0}, .layers = 1},
	    .estimator = ESTIMATOR_RESTE,
	    .seed = 3,
	    .steps = STEPS,
	    .pairs = PAIRS,
	    .hardest = 4,
	    .queue = 50};
	r->tuning = (struct descent_tuning){1e-3f, 0.05f, 1, 1, 0.1f, 0.1f};
	r->data = (struct descent_data){r->u, ROWS, r->left, r->right, r->ids, ROWS};
	return r;
}

static void
rig_free(struct rig *r)
{
	free(r->u);
	free(r);
}

static struct descent *
descent_of(const struct rig *r)
{
	struct error err;
	struct descent *t = descent_new(&r->config, &r->tuning, &r->data, &err);
	if (!t)
		fail_msg("%s", err.text);
	return t;
}

static void
assert_same(struct descent *a, struct descent *b)
{
	struct dense_size size = learn_size(descent_learn(a));
	assert_memory_equal(learn_numbers(descent_learn(a)).params,
	    learn_numbers(descent_learn(b)).params, size.params * sizeof(float));
}

static void
test_goes_on(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	const char *path = path_of("descent");
	for (size_t layers = 1; layers <= 2; layers++) {
		struct error err;
		r->config.model.layers = layers;
		r->config.model.hidden = 2 * D;
		r->config.model.norm = layers > 1;
		struct descent *whole = descent_of(r), *broken = descent_of(r);
		struct checkpoint *cp = calloc(2, sizeof *cp);
		assert_non_null(cp);
		for (int i = 0; i < STEPS / 2; i++)
			assert_true(descent_step(whole) == descent_step(broken));
		descent_parts(broken, &cp[0]);
		assert_int_equal(checkpoint_save(&cp[0], path, &task, &err), 0);
		descent_free(broken);
		struct descent *again = descent_of(r);
		descent_parts(again, &cp[1]);
		assert_int_equal(checkpoint_load(&cp[1], path, &task, &err), 0);
		assert_int_equal(descent_steps(again), STEPS / 2);
		for (int i = 0; i < STEPS / 2; i++)
			assert_true(descent_step(whole) == descent_step(again));
		assert_same(whole, again);
		descent_free(whole);
		descent_free(again);
		free(cp);
	}
	rig_free(r);
}

/* The last steps' loss is below the first ones', each loss alone. */
static void
test_each_loss(void **state)
{
	(void)state;
	enum { MANY = 120 };
	struct rig *r = rig_new();
	r->config.steps = MANY;
	for (size_t i = 0; i < 4; i++) {
		r->tuning = (struct descent_tuning){
		    3e-3f, 0.1f, i == 0, i == 1, i == 2, i == 3};
		struct descent *t = descent_of(r);
		double first = 0, last = 0;
		for (int step = 0; step < MANY; step++) {
			double loss = descent_step(t);
			first += step >= 10 && step < 30 ? loss : 0;
			last += step >= MANY - 20 ? loss : 0;
		}
		if (!(last < first))
			fail_msg("loss %zu: %.4f, then %.4f", i, first, last);
		struct estimator_indicators signs = descent_indicators(t);
		assert_true(signs.error > 0 && signs.stability > 0);
		descent_free(t);
	}
	rig_free(r);
}

static void
test_no_memory(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	struct descent *t = NULL;
	struct error err;
	long k;
	for (k = 1; !t && k < 500; k++) {
		array_fail_at(k);
		t = descent_new(&r->config, &r->tuning, &r->data, &err);
		array_fail_at(0);
		assert_true(t || err.code == ERR_MEMORY);
	}
	assert_true(t && k > 50);
	descent_free(t);
	descent_free(NULL);
	rig_free(r);
}

static void
test_population(void **state)
{
	(void)state;
	enum { N = 5 };
	struct rig *r = rig_new();
	struct train_member members[N];
	struct rng rng;
	rng_init(&rng, test_seed(), 8);
	for (size_t i = 0; i < N; i++) {
		r->config.seed = i;
		members[i] =
		    (struct train_member){descent_of(r), 0.5 + 0.01 * (i == 2)};
	}
	members[1].overlap = 0.4;
	r->tuning.codes = descent_tuning(members[1].descent)->codes = 0;
	train_population_spread(members, N, &rng);
	const struct descent_tuning *best = descent_tuning(members[2].descent);
	struct descent_tuning before = *best,
			      *worst = descent_tuning(members[1].descent);
	assert_true(descent_tuning(members[0].descent)->rate == r->tuning.rate);
	assert_true(
	    best->rate >= r->tuning.rate / 2 && best->rate <= r->tuning.rate * 2);
	assert_true(worst->codes == 0 && worst->rate != best->rate);
	for (size_t i = 0; i < N; i++)
		descent_step(members[i].descent);
	assert_int_equal(train_population_best(members, N), 2);
	train_population_evolve(members, N, &rng);
	assert_same(members[1].descent, members[2].descent);
	assert_memory_equal(best, &before, sizeof before);
	float ratio = worst->rate / best->rate;
	assert_true(fabsf(ratio - 1.2f) < 1e-3f || fabsf(ratio - 1 / 1.2f) < 1e-3f);
	/* From here on they differ: by their tuning and their choices. */
	descent_step(members[1].descent);
	descent_step(members[2].descent);
	assert_memory_not_equal(learn_numbers(descent_learn(members[1].descent)).params,
	    learn_numbers(descent_learn(members[2].descent)).params, D * sizeof(float));
	train_population_evolve(members, 1, &rng);
	for (size_t i = 0; i < N; i++)
		descent_free(members[i].descent);
	rig_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_neighbours),
	    cmocka_unit_test(test_goes_on),
	    cmocka_unit_test(test_each_loss),
	    cmocka_unit_test(test_no_memory),
	    cmocka_unit_test(test_population),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
