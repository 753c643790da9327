/* Claims about codes of an older binarizer: a model that knows it comes back from its
 * file knowing it, and makes the codes it made before; a query's estimate, before and
 * after its own sign, and what a code decodes to, are those of plain sums; files, ids
 * and numbers that are not right are refused with a message that names them; a failing
 * allocation leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "base/tensors.h"
#include "binarize/recurrent.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

#define D 48   /* of the model's vectors */
#define M 64   /* of its codes, at 2 bits */
#define OM 128 /* of the older codes, at 3 */
#define ID "0123456789abcdef"

static char path[512];
static const struct code_shape shape = {M, 2, 0}, older_shape = {OM, 3, 0};
static float map[M * D], mean[D], older_map[OM * D], older_mean[D];

static void
fill(struct rng *rng, float *x, size_t n, float scale)
{
	for (size_t i = 0; i < n; i++)
		x[i] = scale * rng_normal(rng);
}

static void
fill_all(struct rng *rng)
{
	fill(rng, map, M * D, 0.1f);
	fill(rng, mean, D, 0.05f);
	fill(rng, older_map, OM * D, 0.1f);
	fill(rng, older_mean, D, 0.05f);
}

static struct recurrent_older
known_as(const char *id)
{
	return (struct recurrent_older){
	    .id = id, .shape = older_shape, .mean = older_mean, .map = older_map};
}

enum { ROTATION, REFINED, KINDS };

static struct recurrent *
model_of(int kind)
{
	struct error err;
	const struct recurrent_rotation_config rotation = {D, shape, 5, mean};
	const struct recurrent_refined_config refined = {
	    .input_dims = D, .shape = shape, .mean = mean, .map = map, .base = map};
	struct recurrent *model = kind == ROTATION
				      ? recurrent_new(&rotation, &err)
				      : recurrent_new_refined(&refined, &err);
	if (!model)
		fail_msg("%s", err.text);
	return model;
}

static struct recurrent_scratch *
scratch_of(const struct recurrent *model)
{
	struct error err;
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);
	assert_non_null(scratch);
	return scratch;
}

/* The model with the older binarizer, through a file. */
static struct recurrent *
open_with_older(int kind)
{
	struct error err;
	struct recurrent *model = model_of(kind);
	struct recurrent_older older = known_as(ID);

	assert_int_equal(recurrent_add_older(model, &older, &err), 0);
	older.id = "ffffffffffffffff";
	older.shape = (struct code_shape){M, 1, 0};
	assert_int_equal(recurrent_add_older(model, &older, &err), 0);
	if (recurrent_save(model, path, &err) != 0)
		fail_msg("%s", err.text);
	recurrent_free(model);
	model = recurrent_open(path, shape, &err);
	if (!model)
		fail_msg("%s", err.text);
	return model;
}

static void
test_known(void **state)
{
	(void)state;
	struct error err;
	struct rng rng;
	float x[D];

	rng_init(&rng, test_seed(), 1);
	fill_all(&rng);
	fill(&rng, x, D, 1);
	for (int kind = 0; kind < KINDS; kind++) {
		struct recurrent *plain = model_of(kind);
		struct recurrent *model = open_with_older(kind);
		const struct recurrent *older = recurrent_searching(model, ID);
		assert_int_equal(strlen(recurrent_id(model)), 16);
		assert_ptr_equal(
		    recurrent_searching(model, recurrent_id(model)), model);
		assert_null(recurrent_searching(model, "0000000000000000"));
		assert_null(recurrent_searching(model, ""));
		assert_non_null(older);
		assert_string_equal(recurrent_id(older), ID);
		struct recurrent_info info = recurrent_info(older);
		assert_int_equal(info.kind, RECURRENT_OLDER);
		assert_int_equal(info.input_dims, D);
		assert_int_equal(info.shape.dims, OM);
		assert_int_equal(info.shape.bits, 3);
		assert_memory_equal(info.mean, older_mean, sizeof older_mean);
		info = recurrent_info(recurrent_searching(model, "ffffffffffffffff"));
		assert_int_equal(info.shape.dims, M);
		assert_int_equal(info.shape.bits, 1);

		uint8_t wire[2][CODE_BYTES_MAX];
		struct recurrent_numbers numbers[2];
		struct recurrent_scratch *a = scratch_of(plain), *b = scratch_of(model);
		recurrent_encode(plain, a, wire[0], &numbers[0], x, &err);
		recurrent_encode(model, b, wire[1], &numbers[1], x, &err);
		assert_memory_equal(wire[0], wire[1], code_bytes(shape));
		assert_memory_equal(&numbers[0], &numbers[1], sizeof numbers[0]);
		/* A rotation is what its seed says, whatever it knows. */
		assert_int_equal(strcmp(recurrent_id(plain), recurrent_id(model)) == 0,
		    kind == ROTATION);
		recurrent_scratch_free(a);
		recurrent_scratch_free(b);
		recurrent_free(plain);
		recurrent_free(model);
	}
}

/* <q, a> + f <T^T q, v>, and the largest it can be off if T^T q is in 8 bits. */
static double
estimate(double *bound, const float *q, const float *v, double f)
{
	double sum = 0, peak = 0, length = 0;

	for (size_t i = 0; i < OM; i++) {
		double y = 0;
		for (size_t j = 0; j < D; j++)
			y += (double)older_map[i * D + j] * (double)q[j];
		peak = fmax(peak, fabs(y));
		length += fabs((double)v[i]);
		sum += f * y * (double)v[i];
	}
	for (size_t j = 0; j < D; j++)
		sum += (double)q[j] * (double)older_mean[j];
	*bound = f * length * peak / 127 * 0.5 + 1e-4;
	return sum;
}

static double
score(const struct recurrent_query *query, const float *v, float f)
{
	double sum = 0;

	for (size_t i = 0; i < OM; i++)
		sum += (double)query->k[i] * (double)v[i];
	return (double)query->base + (double)f * (double)query->scale * sum;
}

/* The vector that a query's own code stands for: without the mean, which belongs to
 * documents. */
static void
decode_query(const struct recurrent *model, float *decoded, const float *q)
{
	struct error err;
	struct recurrent_scratch *scratch = scratch_of(model);
	uint8_t levels[M], wire[CODE_BYTES_MAX];
	int8_t k[M];
	struct recurrent_query query = {.k = k};
	float x[D];

	assert_int_equal(recurrent_query_code(model, scratch, levels, q, &err), 0);
	code_from_levels(wire, levels, shape);
	recurrent_decode(model, scratch, x, wire, 1);
	/* Its length is that of the query against the query's own code. */
	assert_int_equal(recurrent_query_sdc(model, scratch, &query, q, &err), 0);
	double factor, length = 0, own = 0;
	for (size_t j = 0; j < D; j++) {
		decoded[j] = x[j] - mean[j];
		length += (double)decoded[j] * (double)decoded[j];
		own += (double)q[j] * (double)q[j];
	}
	if (recurrent_info(model).kind == RECURRENT_REFINED)
		factor = sqrt(own / length);
	else /* scale is the factor over 2^(bits - 1) */
		factor = 2 * (double)query.scale;
	for (size_t j = 0; j < D; j++)
		decoded[j] = (float)(factor * (double)decoded[j]);
	recurrent_scratch_free(scratch);
}

static void
test_estimates(void **state)
{
	(void)state;
	struct error err;
	struct rng rng;

	rng_init(&rng, test_seed(), 2);
	fill_all(&rng);
	for (int kind = 0; kind < KINDS; kind++) {
		struct recurrent *model = open_with_older(kind);
		const struct recurrent *older = recurrent_searching(model, ID);
		struct recurrent_scratch *scratch = scratch_of(older);
		for (int round = 0; round < 20; round++) {
			float q[D], decoded[D], v[OM], x[D];
			uint8_t levels[OM], wire[CODE_BYTES_MAX];
			int8_t k[OM];
			struct recurrent_query query = {.k = k};
			double bound, want;

			fill(&rng, q, D, 2);
			for (size_t i = 0; i < OM; i++) {
				levels[i] = (uint8_t)rng_below(&rng, 8);
				v[i] = code_value(levels[i], 3);
			}
			code_from_levels(wire, levels, older_shape);
			assert_int_equal(
			    recurrent_query_int8(older, scratch, &query, q, &err), 0);
			want = estimate(&bound, q, v, 0.25);
			assert_true(fabs(score(&query, v, 0.25f) - want) <= bound);

			recurrent_decode(older, scratch, x, wire, 0.25f);
			double got = 0;
			for (size_t j = 0; j < D; j++)
				got += (double)q[j] * (double)x[j];
			assert_true(fabs(got - want) <= 1e-4);

			assert_int_equal(
			    recurrent_query_sdc(older, scratch, &query, q, &err), 0);
			decode_query(model, decoded, q);
			want = estimate(&bound, decoded, v, 0.25);
			for (size_t j = 0; j < D; j++) /* the base is q's own */
				want += ((double)q[j] - (double)decoded[j]) *
					(double)older_mean[j];
			assert_true(fabs(score(&query, v, 0.25f) - want) <= bound);
		}
		float zeros[D] = {0};
		int8_t k[OM];
		struct recurrent_query query = {.k = k};
		assert_int_equal(
		    recurrent_query_int8(older, scratch, &query, zeros, &err), -1);
		assert_int_equal(err.code, ERR_INPUT);
		assert_int_equal(
		    recurrent_query_sdc(older, scratch, &query, zeros, &err), -1);
		assert_int_equal(err.code, ERR_INPUT);
		recurrent_scratch_free(scratch);
		recurrent_free(model);
	}
}

/* The signs of a query's code are those of T^T q, for distances that count bits. */
static void
test_query_code(void **state)
{
	(void)state;
	struct error err;
	struct rng rng;
	float q[D];
	uint8_t levels[OM];

	rng_init(&rng, test_seed(), 3);
	fill_all(&rng);
	fill(&rng, q, D, 1);
	struct recurrent *model = open_with_older(REFINED);
	const struct recurrent *older = recurrent_searching(model, ID);
	struct recurrent_scratch *scratch = scratch_of(older);
	assert_int_equal(recurrent_query_code(older, scratch, levels, q, &err), 0);
	for (size_t i = 0; i < OM; i++) {
		double y = 0;
		for (size_t j = 0; j < D; j++)
			y += (double)older_map[i * D + j] * (double)q[j];
		assert_true(fabs(y) < 1e-5 || (levels[i] >= 4) == (y > 0));
	}
	recurrent_scratch_free(scratch);
	recurrent_free(model);
}

static void
check_not_added(
    struct recurrent *model, const struct recurrent_older *older, const char *reason)
{
	struct error err = {0};

	if (recurrent_add_older(model, older, &err) != -1 || err.code != ERR_INPUT ||
	    !strstr(err.text, reason))
		fail_msg("'%s', expected '%s'", err.text, reason);
}

static void
test_not_added(void **state)
{
	(void)state;
	struct error err;
	struct rng rng;

	rng_init(&rng, test_seed(), 4);
	fill_all(&rng);
	struct recurrent *model = model_of(ROTATION);
	struct recurrent_older older = known_as(recurrent_id(model));
	check_not_added(model, &older, "not the model's own");
	static const char *const ids[] = {
	    "", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "x"};
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
		older = known_as(ids[i]);
		check_not_added(model, &older, "16 hexadecimal digits");
	}
	older = known_as(ID);
	older.shape.bits = 5;
	check_not_added(model, &older, "1 to 4 bits");
	older = known_as(ID);
	older_mean[2] = NAN;
	check_not_added(model, &older, "finite mean");
	older_mean[2] = 0;
	older_map[OM * D - 1] = INFINITY;
	check_not_added(model, &older, "of the codes of " ID);
	older_map[OM * D - 1] = 0;
	for (int i = 0; i < RECURRENT_OLDER_MAX; i++) {
		char id[RECURRENT_ID_BYTES];
		snprintf(id, sizeof id, "%016x", i);
		older = known_as(id);
		assert_int_equal(recurrent_add_older(model, &older, &err), 0);
		check_not_added(model, &older, "twice");
	}
	older = known_as(ID);
	check_not_added(model, &older, "at most 16");
	assert_null(recurrent_searching(model, ID));
	assert_int_equal(recurrent_save(model, path, &err), 0);
	recurrent_free(model);
	model = recurrent_open(path, shape, &err);
	assert_non_null(model);
	assert_non_null(recurrent_searching(model, "000000000000000f"));
	recurrent_free(model);
}

static void
test_files_refused(void **state)
{
	(void)state;
	struct rng rng;

	rng_init(&rng, test_seed(), 5);
	fill_all(&rng);
	/* As it is, then with text `text` changed, then with tensor `tensor` changed.
	 */
	static const struct {
		int text, tensor;
		const char *value, *reason;
	} cases[] = {
	    {-1, -1, "", NULL},
	    {5, -1, "0", "'older' as 1 to 16, not '0'"},
	    {5, -1, "17", "'older' as 1 to 16"},
	    {5, -1, "1x", "'older'"},
	    {5, -1, "", "'older'"},
	    {5, -1, "002", "'older'"},
	    {5, -1, "3", "'older.2.bits'"},
	    {6, -1, "abc", "16 hexadecimal digits, not 'abc'"},
	    {6, -1, "ffffffffffffffff", "ffffffffffffffff twice"},
	    {7, -1, "5", "'older.0.bits' as 1 to 4"},
	    {7, -1, "-1", "'older.0.bits'"},
	    {-1, 2, "elsewhere", "'older.0.mean'"},
	    {-1, 3, "elsewhere", "'older.0.query.weight'"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct error err = {0};
		struct tensor list[] = {models_tensor("mean", mean, D, 0),
		    models_tensor("query.weight", map, M, D),
		    models_tensor("older.0.mean", older_mean, D, 0),
		    models_tensor("older.0.query.weight", older_map, OM, D),
		    models_tensor("older.1.mean", older_mean, D, 0),
		    models_tensor("older.1.query.weight", older_map, M, D),
		    models_tensor("base.weight", map, M, D)};
		struct tensors_pair texts[] = {{"format", "halftone-binarizer"},
		    {"format_version", "1"}, {"kind", "refined"}, {"dims", "64"},
		    {"bits", "2"}, {"older", "2"}, {"older.0.id", ID},
		    {"older.0.bits", "3"}, {"older.1.id", "ffffffffffffffff"},
		    {"older.1.bits", "1"}};
		if (cases[i].text >= 0)
			texts[cases[i].text].value = cases[i].value;
		if (cases[i].tensor >= 0)
			list[cases[i].tensor].name = cases[i].value;
		assert_int_equal(tensors_save(path, list, 7, texts, 10, &err), 0);
		struct recurrent *model = recurrent_open(path, shape, &err);
		if (!model != !!cases[i].reason ||
		    (!model &&
			(!strstr(err.text, cases[i].reason) || err.code != ERR_FORMAT ||
			    strncmp(err.text, path, strlen(path)) != 0)))
			fail_msg("case %zu: '%s'", i, err.text);
		recurrent_free(model);
	}
}

static void
test_tensors_refused(void **state)
{
	(void)state;
	struct rng rng;

	rng_init(&rng, test_seed(), 7);
	fill_all(&rng);
	for (int wrong = 0; wrong < 4; wrong++) {
		struct error err = {0};
		struct tensor list[] = {models_tensor("mean", mean, D, 0),
		    models_tensor("query.weight", map, M, D),
		    models_tensor(
			"older.0.mean", older_mean, wrong == 0 ? D - 1 : D, 0),
		    models_tensor("older.0.query.weight", older_map,
			wrong == 2 ? OM - 1 : OM, wrong == 1 ? D - 1 : D),
		    models_tensor("base.weight", map, M, D)};
		struct tensors_pair texts[] = {{"format", "halftone-binarizer"},
		    {"format_version", "1"}, {"kind", "refined"}, {"dims", "64"},
		    {"bits", "2"}, {"older", "1"}, {"older.0.id", ID},
		    {"older.0.bits", "3"}};
		static const char *const reasons[] = {"'older.0.mean'",
		    "'older.0.query.weight'", "multiple of 64", "finite numbers"};
		if (wrong == 3)
			older_map[7] = NAN;
		assert_int_equal(tensors_save(path, list, 5, texts, 8, &err), 0);
		assert_null(recurrent_open(path, shape, &err));
		if (!strstr(err.text, reasons[wrong]) || err.code != ERR_FORMAT)
			fail_msg("%s: '%s'", reasons[wrong], err.text);
	}
}

static void
test_no_memory(void **state)
{
	(void)state;
	struct error err;
	struct rng rng;
	long k;

	rng_init(&rng, test_seed(), 6);
	fill_all(&rng);
	recurrent_free(open_with_older(REFINED));
	for (k = 1;; k++) {
		array_fail_at(k);
		struct recurrent *model = recurrent_open(path, shape, &err);
		const struct recurrent *older =
		    model ? recurrent_searching(model, ID) : NULL;
		struct recurrent_scratch *scratch =
		    older ? recurrent_scratch_new(older, &err) : NULL;
		array_fail_at(0);
		recurrent_scratch_free(scratch);
		recurrent_free(model);
		if (scratch)
			break;
		assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_known),
	    cmocka_unit_test(test_estimates),
	    cmocka_unit_test(test_query_code),
	    cmocka_unit_test(test_not_added),
	    cmocka_unit_test(test_files_refused),
	    cmocka_unit_test(test_tensors_refused),
	    cmocka_unit_test(test_no_memory),
	};
	snprintf(path, sizeof path, "%s/m.safetensors", test_folder());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
